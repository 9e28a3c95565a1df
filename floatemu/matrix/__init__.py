"""Matrix units of real devices: their table, one instruction, whole products.

>>> import floatemu as fe
>>> fe.matrix.find(gpu="A100", inputs="fp16", output="fp32").step.length
8
"""

from floatemu.matrix.find import find, units
from floatemu.matrix.models import UNITS
from floatemu.matrix.product import gemm, mma
from floatemu.matrix.unit import Evidence, Integer, MatrixUnit

__all__ = ["UNITS", "Evidence", "Integer", "MatrixUnit", "find", "gemm", "mma", "units"]
