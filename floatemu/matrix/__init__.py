"""Matrix units of real devices: their table, one instruction, whole products, and which one a device is.

>>> import floatemu as fe
>>> fe.matrix.find(gpu="A100", inputs="fp16", output="fp32").step.length
8
"""

from floatemu.matrix.find import find, units
from floatemu.matrix.identification import answering, identify
from floatemu.matrix.models import UNITS
from floatemu.matrix.product import gemm, mma
from floatemu.matrix.report import Identification
from floatemu.matrix.unit import Evidence, Integer, MatrixUnit

__all__ = ["UNITS", "Evidence", "Identification", "Integer", "MatrixUnit", "answering", "find", "gemm", "identify"]
__all__ += ["mma", "units"]
