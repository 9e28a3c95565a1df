"""Registers and shared memory: one rule packs, the PTX ISA's lists unpack, and every number is where it belongs."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from capture import fragments, simulated  # noqa: E402
from capture.compiling import SOURCES  # noqa: E402
from capture.driver import Output  # noqa: E402
from capture.instructions import dots, multiply, self_test  # noqa: E402
from capture.section import Clock, Section  # noqa: E402
from capture.simulated import Simulated  # noqa: E402
from capture.table import ARCHITECTURES, CASTS, INSTRUCTIONS  # noqa: E402
from capture.vectors import LAYOUTS, generator, probe_vectors  # noqa: E402

import floatemu as fe  # noqa: E402
from floatemu.matrix import UNITS  # noqa: E402

ROWS = {row.name: row for row in UNITS}
PARAMETERS = pytest.mark.parametrize("i", INSTRUCTIONS, ids=lambda i: i.kernel)
OFFSETS = (fragments.LEADING, fragments.STRIDE)


def tiles(i, count=3):
    """Codes that are all different within a tile, as far as their width lets them be."""
    m, n, k = i.shape

    def draw(shape, bits, stream):
        size = int(np.prod(shape))
        return (generator.words(7, stream, 0, size) & np.uint64(2**bits - 1)).astype(f"uint{bits}").reshape(shape)

    return draw((count, m, k), i.bits, 0), draw((count, k, n), i.bits, 1), draw((count, m, n), i.result_bits, 2)


@PARAMETERS
def test_what_is_packed_lies_where_the_instruction_looks_for_it(i):
    a, b, c = tiles(i)
    m, n, k = i.shape
    if i.family == "wgmma":
        left = simulated.from_memory(fragments.pack_a(i, a), m, i.bits, *OFFSETS)
        right = simulated.from_memory(fragments.pack_b(i, b), n, i.bits, *OFFSETS).swapaxes(1, 2)
        assert fragments.pack_a(i, a).shape == (3, 512)
        assert fragments.pack_b(i, b).shape == (3, 64)
    else:
        left = simulated.gather(
            fragments.pack_a(i, a), (m, k), i.bits, lambda g, t, e: simulated.place_in_a(i.shape_name, i.bits, g, t, e)
        )
        right = simulated.gather(
            fragments.pack_b(i, b), (k, n), i.bits, lambda g, t, e: simulated.place_in_b(i.shape_name, i.bits, g, t, e)
        )
    assert left.tobytes() == a.tobytes()
    assert np.ascontiguousarray(right).tobytes() == b.tobytes()
    words = fragments.pack_c(i, c)
    assert words.shape[:2] == (3, fragments.threads_of(i))
    assert Simulated._results(i, words, fragments.threads_of(i)).tobytes() == c.tobytes()
    assert fragments.unpack_d(i, words).tobytes() == c.tobytes()
    back = simulated.scatter(c, words.shape, words.dtype, i.result_bits, fragments.threads_of(i))
    assert back.tobytes() == words.tobytes()


@PARAMETERS
def test_every_place_is_taken_once(i):
    m, n, k = i.shape
    places = [(fragments.places_of_d(i), (m, n))]
    if i.family == "mma":
        places += [(fragments.places_of_a(i), (m, k)), (fragments.places_of_b(i), (k, n))]
    for (rows, columns), shape in places:
        assert sorted((rows * shape[1] + columns).ravel()) == list(range(shape[0] * shape[1]))


def test_memory_of_a_wgmma_is_made_of_core_matrices():
    i = next(i for i in INSTRUCTIONS if i.family == "wgmma" and i.bits == 8)
    rows = np.arange(64 * 32, dtype=np.uint64).reshape(1, 64, 32).astype(np.uint8)
    image = fragments.pack_a(i, rows).view(np.uint8)[0]
    for row, byte, address in ((0, 0, 0), (1, 0, 16), (7, 15, 127), (0, 16, 128), (8, 0, 256), (63, 31, 2047)):
        assert image[address] == rows[0, row, byte]


CHOSEN = [
    "mma_m16n8k16_f32_f16_f16", "mma_m16n8k8_f16_f16_f16", "mma_m16n8k8_f32_tf32_tf32", "mma_m16n8k32_s32_u8_s8",
    "mma_m16n8k16_f64_f64_f64", "mma_m8n8k4_f64_f64_f64", "mma_m16n8k32_f16_e5m2_e5m2", "wgmma_m64n8k32_f32_e4m3_e5m2",
    "wgmma_m64n8k16_f16_f16_f16", "wgmma_m64n8k32_s32_s8_s8_satfinite",
]  # fmt: skip


@pytest.mark.parametrize("kernel", CHOSEN)
def test_a_launch_gives_the_matrix_product(kernel):
    """Pack, execute thread by thread, unpack: the emulator's product of whole tiles of raw codes."""
    i = next(i for i in INSTRUCTIONS if i.kernel == kernel)
    device = Simulated("hopper")
    a, b, c = tiles(i, 5)
    found = multiply(device, i, a, b, c, OFFSETS)
    assert found.tobytes() == fe.matrix.mma(ROWS[i.unit(90)], a, b, c, codes=True).tobytes()
    assert self_test(device, i, OFFSETS)


@pytest.mark.parametrize("kernel", ["mma_m16n8k8_f32_f16_f16", "wgmma_m64n8k16_f32_f16_f16", "mma_m8n8k4_f64_f64_f64"])
def test_vectors_on_diagonals_are_dot_products_and_chain_over_k(kernel):
    i = next(i for i in INSTRUCTIONS if i.kernel == kernel)
    k = 3 * i.shape[2]
    a, b, c = generator.vectors("adversarial", LAYOUTS[i.a], LAYOUTS[i.b], LAYOUTS[i.d], 101, k, 5)
    found = dots(Simulated("hopper"), i, a, b, c, OFFSETS)
    d = c[:, None, None]
    for start in range(0, k, i.shape[2]):  # the instruction's own K, which may be less than what the unit adds at once
        part = slice(start, start + i.shape[2])
        d = fe.matrix.mma(ROWS[i.unit(90)], a[:, None, part], b[:, part, None], d, codes=True)
    assert found.tobytes() == d[:, 0, 0].tobytes()


def test_diagonals_use_every_row_of_a_tile():
    """A map that is wrong in the lower half of a tile must not stay unseen."""

    class Spy:
        sm, name, rows = 90, "spy", set()

        def run(self, kernel, grid, block, arguments):
            codes = simulated.from_memory(arguments[0], 64, 16, *OFFSETS)
            self.rows |= set(np.nonzero(codes.any(-1))[1].tolist())
            room = arguments[3]
            return [np.zeros(room.shape, room.dtype)]

    i = next(i for i in INSTRUCTIONS if i.kernel == "wgmma_m64n8k16_f32_f16_f16")
    spy = Spy()
    ones = np.full((64, 16), 0x3C00, np.uint16)
    dots(spy, i, ones, ones, np.zeros(64, np.uint32), OFFSETS)
    assert spy.rows == set(range(64))


@pytest.mark.parametrize("kernel", ["mma_m16n8k16_f32_f16_f16", "wgmma_m64n8k32_f32_e4m3_e4m3"])
def test_self_test_sees_a_single_wrong_bit(kernel):
    i = next(i for i in INSTRUCTIONS if i.kernel == kernel)
    assert not self_test(Simulated("hopper", broken=kernel), i, OFFSETS)


@pytest.mark.parametrize("place", ["place_in_a", "place_in_b", "place_in_d"])
def test_self_test_sees_two_numbers_exchanged(monkeypatch, place):
    right = getattr(simulated, place)

    def wrong(*arguments):
        *head, t, element = arguments
        return right(*head, t ^ 1, element) if arguments[-3] == 3 else right(*arguments)

    i = next(i for i in INSTRUCTIONS if i.kernel == "mma_m16n8k32_f32_e4m3_e4m3")
    monkeypatch.setattr(simulated, place, wrong)
    if place == "place_in_d":  # C and D exchanged alike give the same sums elsewhere
        monkeypatch.setattr(simulated, "scatter", lambda *x: scatter_right(right, *x))
    assert not self_test(Simulated("hopper"), i, OFFSETS)


def scatter_right(place, found, shape, dtype, bits, threads):
    words = np.zeros(shape, dtype)
    for lane in range(threads):
        for element in range(shape[2]):
            row, column = place("", lane >> 2, lane & 3, element)
            words[:, lane, element] = found[:, row, column]
    return words


def test_descriptors_whose_offsets_mean_each_other_are_found_out():
    from capture import instructions

    section = Section("instructions")
    device = Simulated("hopper.wgmma.e4m3fn.e4m3fn.binary32", swapped=True)
    instructions.capture(device, section, Clock(60), 8, device.covers)
    assert section.facts["descriptors"] == f"leading={fragments.STRIDE},stride={fragments.LEADING}"
    assert {test["status"] for test in section.tests} == {"done"}


def test_a_launch_that_fails_its_self_test_is_marked_and_has_no_results():
    from capture import instructions

    section = Section("instructions")
    device = Simulated("ampere.mma.binary16.binary16.binary32", broken="mma_m16n8k16_f32_f16_f16")
    instructions.capture(device, section, Clock(60), 8, device.covers)
    states = {test["id"]: (test["status"], test["d"]) for test in section.tests}
    assert {state for name, state in states.items() if name.startswith("mma_m16n8k16")} == {("failed", None)}
    assert {state for name, (state, _) in states.items() if name.startswith("mma_m16n8k8")} == {"done"}
    reasons = {test["reason"] for test in section.tests if test["status"] == "failed"}
    assert reasons == {"the launch failed its self-test: small integers gave a wrong product"}


@pytest.mark.parametrize("sm", sorted(set(ARCHITECTURES) - {86}))
def test_units_of_the_table_exist(sm):
    names = {i.unit(sm) for i in INSTRUCTIONS if i.runs_on(sm)}
    assert names <= set(ROWS)
    for i in INSTRUCTIONS:
        if i.runs_on(sm):
            row = ROWS[i.unit(sm)]
            assert (row.a.name, row.b.name, row.output.name) == (i.a, i.b, i.d)
            if i.d != "binary64" or sm != 120:  # there, larger shapes are several m8n8k4, and the row lists that one
                shapes = [shape.replace("M", r"\d+").replace("N", r"\d+") for shape in row.shapes]
                assert any(re.fullmatch(shape, i.shape_name) for shape in shapes)


def test_the_table_and_the_sources_name_the_same_kernels():
    texts = {name: (SCRIPTS / "capture" / f"{name}.cu").read_text() for name in SOURCES}
    found = set(re.findall(r"^(?:MMA\d*_\d+|WGMMA)\((\w+),", texts["mma"] + texts["wgmma"], re.MULTILINE))
    assert found == {i.kernel for i in INSTRUCTIONS}
    assert len(found) == len(INSTRUCTIONS)
    for i in INSTRUCTIONS:  # the PTX in the source is the PTX in the table
        line = next(line for line in texts[i.family].splitlines() if f"({i.kernel}," in line)
        assert i.ptx.removeprefix("wgmma.mma_async.sync.aligned.") in line
    casts = re.findall(r'^(?:TO_\w+|HALF_TO_PAIR|PAIR_TO_HALF)\((\w+), "([^"]+)"', texts["cvt"], re.MULTILINE)
    assert sorted(casts) == sorted((cast.kernel, cast.ptx) for cast in CASTS)


@pytest.mark.parametrize(("source", "macro", "order"), [
    ("mma", "BEGIN", ["array", "array", "array", "output", "number"]),
    ("wgmma", "WGMMA", ["array", "array", "array", "output", "number", "number"]),
    ("cvt", "chunk", ["output", "number", "number"]),
    ("cvt", "each", ["array", "output", "number"]),
])  # fmt: skip
def test_arguments_are_passed_in_the_order_of_the_sources(source, macro, order):
    """What a launch passes is what the kernel's parameter list says; a driver cannot check this."""
    text = (SCRIPTS / "capture" / f"{source}.cu").read_text().replace("\\\n", " ")
    name = {"BEGIN": "NAME", "WGMMA": "NAME", "chunk": "chunk_##NAME", "each": "each_##NAME"}[macro]
    signature = re.search(rf"__global__ void (?:__launch_bounds__\(128\) )?{re.escape(name)}\(([^)]*)\)", text)[1]
    kinds = ["array" if "const" in p else "output" if "*" in p else "number" for p in signature.split(",")]
    assert kinds == order
    passed = []

    class Spy:
        sm, name = 90, "spy"

        def run(self, kernel, grid, block, arguments):
            kinds = {int: "number", Output: "output", np.ndarray: "array"}
            passed.append([kinds[type(x)] for x in arguments])
            rooms = [x for x in arguments if isinstance(x, Output)]
            return [np.zeros(room.shape, room.dtype) for room in rooms]

    if source == "cvt":
        from capture.casts import OnDriver

        converter = OnDriver(Spy(), CASTS[0])
        converter.hashes(0, 1, 16) if macro == "chunk" else converter.each(np.zeros(4, np.uint32))
    else:
        i = next(i for i in INSTRUCTIONS if i.family == source)
        multiply(Spy(), i, *tiles(i), OFFSETS)
    assert passed == [order]


def test_unknown_rows_are_refused():
    from capture.driver import DriverError

    with pytest.raises(DriverError, match=r"no row is named 'hopper\.tma'.*rtx_blackwell, blackwell, hopper"):
        Simulated("hopper.tma")


def test_designed_vectors_are_those_of_the_package():
    from floatemu.matrix import generator as own
    from floatemu.matrix import probe_vectors as designed

    assert generator.__file__ == own.__file__
    assert probe_vectors.__file__ == designed.__file__
    assert "numba" not in {name.split(".")[0] for name in vars(generator)}
