"""Exceptions: taken, stacked, ordered, timed and returned from as the manuals say."""

from __future__ import annotations

from pathlib import Path

import pytest
from sim_images import ENGINES, assert_explained, build, function

from ebnn.sim import Machine
from ebnn.sim.faults import Fault

_NAMES = ("NMI", "HardFault", "MemManage", "BusFault", "UsageFault", "", "", "", "", "SVC", "",
          "", "PendSV", "SysTick", *(f"IRQ{number}" for number in range(4)))  # fmt: skip
_PRELUDE = """
#include <stdint.h>
#define REG(address) (*(volatile uint32_t *)(address))
#define ICSR REG(0xE000ED04)
#define ISER REG(0xE000E100)
#define ICER REG(0xE000E180)
#define ISPR REG(0xE000E200)
#define IPR REG(0xE000E400)
#define SYST_CSR REG(0xE000E010)
#define SYST_RVR REG(0xE000E014)
#define SYST_CVR REG(0xE000E018)
#define BARRIER() __asm volatile("dsb\\n isb" ::: "memory")
"""
CORES = ["m0plus", "m3", "m4f"]
everywhere = pytest.mark.parametrize("engine", ENGINES)
on_each_core = pytest.mark.parametrize("core", CORES)


def firmware(folder: Path, core: str, c: str, assembly: str = "") -> Path:
    """An image whose vectors name the handlers (`SVC_handler`...) that the sources define."""
    words = [
        f".word {name}_handler" if name and f"{name}_handler" in c + assembly else ".word 0"
        for name in _NAMES
    ]
    vectors = '\n    .section .vectors, "a"\n' + "\n".join(words) + "\n    .text\n"
    return build(folder, core, _PRELUDE + c, vectors + assembly)


def machine_of(
    folder: Path, core: str, engine: str, c: str, assembly: str = "", **options: object
) -> Machine:
    elf = firmware(folder, core, c, assembly)
    return Machine(elf, core=core, engine=engine, max_cycles=2_000_000, **options)  # type: ignore[arg-type]


_PLAIN_MAIN = "int main(void) { return 0; }"
_EMPTY_SVC = function("SVC_handler", "    bx lr")


@everywhere
@pytest.mark.parametrize(
    # SVC 1, entry, BX 1, return 12, then BX with its refill
    ("core", "cycles"),
    [("m0", 1 + 16 + 1 + 12 + 3), ("m0plus", 1 + 15 + 1 + 12 + 2), ("m3", 29), ("m4f", 29)],
)
def test_an_empty_supervisor_call_takes_entry_and_return(
    tmp_path: Path, core: str, engine: str, cycles: int
) -> None:
    assembly = _EMPTY_SVC + function("call_it", "    svc #0\n    bx lr")
    machine = machine_of(
        tmp_path, core, engine, _PLAIN_MAIN, assembly, regions=("call_it", "SVC_handler")
    )
    machine.run_until("main")
    machine.call("call_it")
    assert machine.region("call_it").cycles == cycles
    assert machine.region("SVC_handler").cycles == 1  # BX alone: what lies around is the core's
    assert_explained(machine)


@everywhere
@on_each_core
def test_a_supervisor_call_gets_its_arguments_from_the_stacked_frame(
    tmp_path: Path, core: str, engine: str
) -> None:
    c = """
static uint32_t seen[8];
void served(uint32_t *frame) {
    for (int i = 0; i < 8; i++) { seen[i] = frame[i]; }
    frame[0] = frame[0] * 10 + ((uint8_t *)frame[6])[-2]; /* the number in the SVC instruction */
}
__attribute__((noinline)) static uint32_t service(uint32_t a, uint32_t b) {
    register uint32_t r0 __asm("r0") = a;
    register uint32_t r1 __asm("r1") = b;
    __asm volatile("svc #7" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
int main(void) {
    uint32_t got = service(4, 0x1234);
    if (seen[0] != 4 || seen[1] != 0x1234) { return 1; }
    if ((seen[7] & 0x010001FF) != 0x01000000) { return 2; } /* from thread mode, Thumb */
    return (int)got;
}
"""
    handler = function("SVC_handler", "    mov r0, sp\n    ldr r1, =served\n    bx r1\n    .ltorg")
    machine = machine_of(tmp_path, core, engine, c, handler)
    assert machine.run() == 47
    assert_explained(machine)


_THREADS = """
static uint32_t stacks[2][64];
static uint32_t *saved[2];
static volatile uint32_t order, turns;
static uint32_t current;
uint32_t *next_stack(uint32_t *sp) {
    saved[current] = sp;
    current ^= 1;
    return saved[current];
}
static void yield(void) { ICSR = 1u << 28; BARRIER(); }
static void first(void) {
    for (;;) { order = order * 4 + 1; turns++; yield(); }
}
static void second(void) {
    for (;;) { order = order * 4 + 2; turns++; yield(); }
}
static void prepare(uint32_t which, void (*entry)(void)) {
    uint32_t *sp = &stacks[which][64 - 16];
    sp[8 + 6] = (uint32_t)entry;
    sp[8 + 7] = 1u << 24;
    saved[which] = sp;
}
int main(void) {
    prepare(0, first);
    prepare(1, second);
    current = 1;
    uint32_t *start = next_stack(saved[1]);
    saved[1] = &stacks[1][64 - 16];
    __asm volatile("msr psp, %0\\n svc #0" :: "r"(start + 8) : "memory");
    return 0;
}
void finish(void) {
    volatile struct { uint32_t reason, status; } exit_block;
    uint32_t control;
    exit_block.reason = 0x20026;
    __asm volatile("mrs %0, control" : "=r"(control));
    exit_block.status = order * 2 + (control >> 1 & 1); /* SPSEL reads 0 in a handler */
    register uint32_t r0 __asm("r0") = 0x20;
    register volatile void *r1 __asm("r1") = &exit_block;
    __asm volatile("bkpt 0xab" :: "r"(r0), "r"(r1) : "memory");
}
"""
_SWITCH = function(
    "PendSV_handler",
    """
    ldr r0, =turns
    ldr r0, [r0]
    cmp r0, #6
    beq 1f
    push {r4, lr}
    mrs r0, psp
    subs r0, #32
    mov r1, r0
    stmia r1!, {r4-r7}
    bl next_stack
    mov r1, r0
    ldmia r1!, {r4-r7}
    adds r0, #32
    msr psp, r0
    pop {r4, pc}
1:  bl finish
    .ltorg""",
) + function("SVC_handler", "    movs r0, #2\n    mvns r0, r0\n    bx r0")  # 0xfffffffd


@everywhere
@on_each_core
def test_pendsv_switches_between_two_threads_on_their_own_stacks(
    tmp_path: Path, core: str, engine: str
) -> None:
    c = _THREADS.replace("static volatile uint32_t order, turns", "volatile uint32_t order, turns")
    machine = machine_of(tmp_path, core, engine, c, _SWITCH)
    assert machine.run() == 0b01_10_01_10_01_10 << 1
    assert machine.ram_use().stack < 200  # the threads' stacks are static data
    assert_explained(machine)


_BUSY = """
volatile uint32_t ticks;
void SysTick_handler(void) { ticks++; }
__attribute__((noipa)) void busy(uint32_t rounds) {
    __asm volatile(".syntax unified\\n1: subs %0, #1\\n bne 1b" : "+l"(rounds));
}
int main(void) {
    SYST_RVR = 999;
    SYST_CVR = 0;
    SYST_CSR = 7;
    busy(20000);
    SYST_CSR = 0;
    return (int)ticks;
}
"""


@everywhere
@on_each_core
def test_systick_ticks_as_often_as_the_models_cycles_say(
    tmp_path: Path, core: str, engine: str
) -> None:
    machine = machine_of(tmp_path, core, engine, _BUSY, regions=("busy", "SysTick_handler"))
    ticks = machine.run()
    busy, handler = (machine.regions()[name] for name in ("busy", "SysTick_handler"))
    assert handler["count"] == ticks
    # Busy's cycles hold the interrupts: the counter was started just before, stopped just after.
    assert ticks == busy["cycles"]["total"] // 1000
    assert machine.stalls()["exception"] == ticks * (27 if core == "m0plus" else 24)
    assert_explained(machine)


@on_each_core
def test_both_engines_count_interrupts_alike_and_twice_the_same(tmp_path: Path, core: str) -> None:
    records = []
    elf = firmware(tmp_path, core, _BUSY)
    for engine in ("auto", "python", "auto"):
        machine = Machine(elf, core=core, engine=engine, regions=("busy", "SysTick_handler"))
        machine.run()
        data = machine.record().to_dict()
        del data["engine"]
        records.append(data)
    assert records[0] == records[1] == records[2]


@everywhere
@on_each_core
def test_count_flag_is_read_once_and_polling_sees_every_period(
    tmp_path: Path, core: str, engine: str
) -> None:
    c = """
int main(void) {
    SYST_RVR = 99;
    SYST_CVR = 0;
    SYST_CSR = 5;
    while (!(SYST_CSR >> 16 & 1)) {}
    if (SYST_CSR >> 16 & 1) { return 1; }
    uint32_t first = SYST_CVR;
    SYST_CSR = 0;
    uint32_t standing = SYST_CVR;
    if (first > 99 || standing >= first || standing != SYST_CVR) { return 2; }
    return 0;
}
"""
    assert machine_of(tmp_path, core, engine, c).run() == 0


@everywhere
@on_each_core
def test_the_more_urgent_interrupt_preempts_and_the_less_urgent_waits(
    tmp_path: Path, core: str, engine: str
) -> None:
    c = """
volatile uint32_t order;
static void note(uint32_t what) { order = order * 8 + what; }
void IRQ0_handler(void) { note(1); ISPR = 6; BARRIER(); note(2); }
void IRQ1_handler(void) { note(3); }
void IRQ2_handler(void) { note(4); }
int main(void) {
    IPR = 0x00C04080; /* interrupt 0: 0x80, 1: 0x40, 2: 0xc0 */
    ISER = 7;
    ISPR = 1;
    BARRIER();
    note(5);
    return (int)order;
}
"""
    assert machine_of(tmp_path, core, engine, c).run() == 0o13245


@everywhere
def test_priority_grouping_keeps_subpriorities_from_preempting(tmp_path: Path, engine: str) -> None:
    c = """
volatile uint32_t order;
static void note(uint32_t what) { order = order * 8 + what; }
void IRQ0_handler(void) { note(1); ISPR = 6; BARRIER(); note(2); }
void IRQ1_handler(void) { note(3); }
void IRQ2_handler(void) { note(4); }
int main(void) {
    REG(0xE000ED0C) = 0x05FA0600; /* PRIGROUP 6: only bit 7 preempts */
    IPR = 0x00102040;
    ISER = 7;
    REG(0xE000EF00) = 0; /* STIR */
    BARRIER();
    return (int)order;
}
"""
    assert machine_of(tmp_path, "m3", engine, c).run() == 0o1243  # 2 before 1: 0x10, then 0x20


@everywhere
@pytest.mark.parametrize(("core", "entry"), [("m0plus", 15), ("m3", 12), ("m4f", 12)])
def test_back_to_back_interrupts_are_chained_in_six_cycles(
    tmp_path: Path, core: str, engine: str, entry: int
) -> None:
    c = "void enable(void) { ISER = 3; }\n" + _PLAIN_MAIN
    empty = function("IRQ0_handler", "    bx lr") + function("IRQ1_handler", "    bx lr")
    pend = function(
        "pend", "    ldr r0, =0xe000e200\n    str r1, [r0]\n    isb\n    bx lr\n .ltorg"
    )
    machine = machine_of(tmp_path, core, engine, c, empty + pend, regions=("pend",))
    machine.run_until("main")
    machine.call("enable")
    costs = []
    for interrupts in (0, 1, 3):
        machine.call("pend", 0, interrupts)
        costs.append(machine.region("pend").cycles)
    assert costs[1] - costs[0] == entry + 1 + 12
    assert costs[2] - costs[1] == 6 + 1
    assert_explained(machine)


@everywhere
@on_each_core
def test_primask_holds_interrupts_back_until_it_is_cleared(
    tmp_path: Path, core: str, engine: str
) -> None:
    c = """
volatile uint32_t taken;
void IRQ0_handler(void) { taken++; }
int main(void) {
    ISER = 1;
    __asm volatile("cpsid i" ::: "memory");
    ISPR = 1;
    BARRIER();
    if (taken) { return 1; }
    __asm volatile("cpsie i" ::: "memory");
    if (taken != 1) { return 2; }
    __asm volatile("msr primask, %0" :: "r"(1) : "memory");
    ISPR = 1;
    BARRIER();
    uint32_t primask;
    __asm volatile("mrs %0, primask" : "=r"(primask));
    if (taken != 1 || primask != 1) { return 3; }
    ICER = 1;
    __asm volatile("cpsie i" ::: "memory");
    if (taken != 1) { return 4; } /* pending, but no longer enabled */
    ISER = 1;
    BARRIER();
    return taken == 2 ? 0 : 5;
}
"""
    machine = machine_of(tmp_path, core, engine, c)
    assert machine.run() == 0
    assert_explained(machine)


@everywhere
def test_basepri_and_faultmask_hold_back_what_is_less_urgent(tmp_path: Path, engine: str) -> None:
    c = """
volatile uint32_t order;
void IRQ0_handler(void) { order = order * 8 + 1; }
void IRQ1_handler(void) { order = order * 8 + 2; }
static void basepri(uint32_t value) { __asm volatile("msr basepri, %0" :: "r"(value) : "memory"); }
int main(void) {
    uint32_t read;
    IPR = 0x4080;
    ISER = 3;
    basepri(0x60);
    __asm volatile("msr basepri_max, %0" :: "r"(0x70) : "memory"); /* no lower, so no effect */
    __asm volatile("mrs %0, basepri" : "=r"(read));
    if (read != 0x60) { return 1; }
    ISPR = 3;
    BARRIER();
    order = order * 8 + 3;
    basepri(0);
    order = order * 8 + 4;
    __asm volatile("cpsid f" ::: "memory");
    ISPR = 1;
    BARRIER();
    __asm volatile("mrs %0, faultmask" : "=r"(read));
    order = order * 8 + 4 + read;
    __asm volatile("cpsie f" ::: "memory");
    return (int)order;
}
"""
    assert machine_of(tmp_path, "m3", engine, c).run() == 0o231451


_FPU = """
static void fpu_on(void) { REG(0xE000ED88) |= 0xF << 20; BARRIER(); }
volatile float scratch;
#ifdef HANDLER_USES_FPU
void IRQ0_handler(void) { scratch = scratch * 3.0f + 1.0f; }
#else
void IRQ0_handler(void) {}
#endif
int main(void) {
    register float kept __asm("s3") = 2.5f;
    uint32_t before, after;
    fpu_on();
    ISER = 1;
    __asm volatile("vmov.f32 s3, #2.5\\n mov %0, sp" : "=r"(before), "=t"(kept));
    ISPR = 1;
    BARRIER();
    __asm volatile("mov %0, sp" : "=r"(after), "+t"(kept));
    if (before != after) { return 1; }
    return (int)(kept * 2.0f);
}
"""


@everywhere
@pytest.mark.parametrize("uses", [False, True])
def test_a_handler_leaves_the_floating_point_registers_as_they_were(
    tmp_path: Path, engine: str, uses: bool
) -> None:
    c = ("#define HANDLER_USES_FPU\n" if uses else "") + _FPU
    machine = machine_of(tmp_path, "m4f", engine, c)
    assert machine.run() == 5
    # Lazy: the context's 17 words are stored only when the handler touches the FPU, then loaded.
    assert machine.stalls()["exception"] == 24 + (34 if uses else 0)
    assert machine.ram_use().stack >= 0x68
    assert_explained(machine)


@everywhere
def test_without_lazy_stacking_the_whole_context_is_stored_at_entry(
    tmp_path: Path, engine: str
) -> None:
    c = _FPU.replace("fpu_on();", "fpu_on(); REG(0xE000EF34) &= ~(1u << 30);")
    machine = machine_of(tmp_path, "m4f", engine, c)
    assert machine.run() == 5
    assert machine.stalls()["exception"] == 29 + 29


@everywhere
@on_each_core
def test_wfi_sleeps_to_the_next_tick_and_time_advances(
    tmp_path: Path, core: str, engine: str
) -> None:
    c = """
volatile uint32_t ticks;
void SysTick_handler(void) { ticks++; }
int main(void) {
    SYST_RVR = 9999;
    SYST_CVR = 0;
    SYST_CSR = 7;
    while (ticks < 3) { __asm volatile("wfi"); }
    return (int)ticks;
}
"""
    machine = machine_of(tmp_path, core, engine, c)
    assert machine.run() == 3
    assert 30_000 <= machine.cycles < 30_200
    assert machine.stalls()["sleep"] > 29_000
    assert_explained(machine)


@everywhere
@on_each_core
def test_wfi_wakes_with_primask_set_and_sleeponexit_never_leaves(
    tmp_path: Path, core: str, engine: str
) -> None:
    c = """
volatile uint32_t ticks;
void SysTick_handler(void) { if (++ticks == 4) { REG(0xE000ED10) = 0; } }
int main(void) {
    SYST_RVR = 999;
    SYST_CVR = 0;
    SYST_CSR = 7;
    __asm volatile("cpsid i" ::: "memory");
    __asm volatile("wfi" ::: "memory");
    if (ticks) { return 1; }
    REG(0xE000ED10) = 2; /* SLEEPONEXIT */
    __asm volatile("cpsie i" ::: "memory");
    return (int)ticks;
}
"""
    machine = machine_of(tmp_path, core, engine, c)
    assert machine.run() == 4
    assert 4000 <= machine.cycles < 4200


@everywhere
@on_each_core
def test_wfe_passes_an_event_once_and_then_sleeps(tmp_path: Path, core: str, engine: str) -> None:
    c = """
volatile uint32_t ticks;
void SysTick_handler(void) { ticks++; }
int main(void) {
    __asm volatile("sev\\n wfe\\n yield\\n nop");
    SYST_RVR = 999;
    SYST_CVR = 0;
    SYST_CSR = 7;
    while (!ticks) { __asm volatile("wfe" ::: "memory"); }
    SYST_CSR = 0;
    __asm volatile("wfe"); /* the handler's return was an event */
    __asm volatile("wfe");
    return 0;
}
"""
    machine = machine_of(tmp_path, core, engine, c)
    with pytest.raises(Fault, match="cannot come") as caught:
        machine.run()
    assert caught.value.kind == "no-wake-up"
    assert 1000 <= machine.cycles < 1200


_UNPRIVILEGED = """
volatile uint32_t reached;
static void drop(void) { __asm volatile("msr control, %0\\n isb" :: "r"(1) : "memory"); }
int main(void) {
    uint32_t control, primask;
    drop();
    __asm volatile("cpsid i\\n mrs %0, primask\\n mrs %1, control" : "=r"(primask), "=r"(control));
    if (primask || control != 1) { return 1; }
    __asm volatile("msr control, %0" :: "r"(0));
    reached = 1;
    ICSR = 1u << 28;
    return 2;
}
"""


@everywhere
def test_unprivileged_code_cannot_reach_the_cores_own_registers(
    tmp_path: Path, engine: str
) -> None:
    machine = machine_of(tmp_path, "m4f", engine, _UNPRIVILEGED)
    with pytest.raises(Fault) as caught:
        machine.run()
    fault = caught.value
    assert (fault.kind, fault.address, fault.place.function) == ("unprivileged", 0xE000ED04, "main")
    assert machine.read(machine.symbol("reached").address, 4) == b"\1\0\0\0"
    assert_explained(machine)


_FAULTS = {
    "unmapped": ("*(volatile int *)0x30000000 = 1;", 1 << 9 | 1 << 15),
    "write-to-flash": ("*(volatile int *)0x08000010 = 1;", 1 << 9 | 1 << 15),
    "undefined": ('__asm volatile("udf #1");', 1 << 16),
    "divide-by-zero": (
        "REG(0xE000ED14) |= 16; volatile int ten = 10, zero = 0; zero = ten / zero;",
        1 << 25,
    ),
}
_DELIVERED = """
volatile uint32_t cause, forced, stacked, enabled;
void noted(uint32_t *frame, uint32_t number) {
    cause = REG(0xE000ED28);
    REG(0xE000ED28) = cause;
    forced = REG(0xE000ED2C) >> 30 & 1;
    stacked = frame[6];
    frame[6] += *(uint16_t *)frame[6] >> 11 >= 0x1D ? 4 : 2;
    enabled = number;
}
int main(void) {
    ENABLE;
    CODE;
    return (int)(enabled | forced << 4 | (REG(0xE000ED28) ? 1u << 6 : 0));
}
"""
_NOTE = "    mov r0, sp\n    mrs r1, ipsr\n    ldr r2, =noted\n    bx r2\n    .ltorg"
_ALL_FAULTS = "".join(
    function(f"{name}_handler", _NOTE) for name in ("HardFault", "BusFault", "UsageFault")
)


@everywhere
@pytest.mark.parametrize("kind", _FAULTS)
@pytest.mark.parametrize("configured", [False, True])
def test_delivered_faults_reach_the_handler_with_their_cause(
    tmp_path: Path, engine: str, kind: str, configured: bool
) -> None:
    code, cause = _FAULTS[kind]
    enable = "REG(0xE000ED24) = 7u << 16" if configured else ""
    c = _DELIVERED.replace("CODE", code).replace("ENABLE", enable)
    machine = machine_of(tmp_path, "m3", engine, c, _ALL_FAULTS, faults="deliver")
    number = (5 if cause < 1 << 16 else 6) if configured else 3
    assert machine.run() == number | (0 if configured else 1 << 4)
    assert int.from_bytes(machine.read(machine.symbol("cause").address, 4), "little") == cause
    assert machine.fault is None
    assert_explained(machine)
    stopping = machine_of(tmp_path, "m3", engine, c, _ALL_FAULTS)
    with pytest.raises(Fault) as caught:
        stopping.run()
    stacked = int.from_bytes(machine.read(machine.symbol("stacked").address, 4), "little")
    assert (caught.value.kind, caught.value.place.pc) == (kind, stacked)


@everywhere
def test_on_armv6m_every_delivered_fault_is_a_hard_fault(tmp_path: Path, engine: str) -> None:
    c = _DELIVERED.replace("CODE", _FAULTS["unmapped"][0]).replace("ENABLE", "")
    machine = machine_of(tmp_path, "m0plus", engine, c, _ALL_FAULTS, faults="deliver")
    assert machine.run() == 3


@everywhere
def test_a_fault_in_the_hard_fault_handler_is_a_lockup(tmp_path: Path, engine: str) -> None:
    c = "int main(void) { *(volatile int *)0x30000000 = 1; return 0; }"
    handler = function("HardFault_handler", "    udf #0")
    machine = machine_of(tmp_path, "m3", engine, c, handler, faults="deliver")
    with pytest.raises(Fault, match="HardFault: lockup") as caught:
        machine.run()
    assert caught.value.place.function == "HardFault_handler"
    assert_explained(machine)


@everywhere
@pytest.mark.parametrize(
    ("kind", "code", "match"),
    [
        ("no-handler", 'ICSR = 1u << 28; BARRIER();', "PendSV cannot be taken"),
        ("reset", "REG(0xE000ED0C) = 0x05FA0004; for (;;) {}", "SYSRESETREQ"),
        ("hard-fault", '__asm volatile("cpsid i\\n svc #0");', "SVC"),
        ("stacking", '__asm volatile("msr msp, %0\\n svc #0" :: "r"(0x30001000));', "frame"),
    ],
)  # fmt: skip
def test_what_no_handler_can_take_is_a_named_fault(
    tmp_path: Path, engine: str, kind: str, code: str, match: str
) -> None:
    c = "int main(void) { CODE return 0; }".replace("CODE", code)
    machine = machine_of(tmp_path, "m3", engine, c, _EMPTY_SVC)
    with pytest.raises(Fault, match=match) as caught:
        machine.run()
    assert caught.value.kind == kind
    assert_explained(machine)


@everywhere
def test_an_impossible_return_value_is_named(tmp_path: Path, engine: str) -> None:
    handler = function("SVC_handler", "    movs r0, #10\n    mvns r0, r0\n    bx r0")
    c = 'int main(void) { __asm volatile("svc #0"); return 0; }'
    machine = machine_of(tmp_path, "m3", engine, c, handler)
    with pytest.raises(Fault, match="EXC_RETURN is 0xfffffff5") as caught:
        machine.run()
    assert (caught.value.kind, caught.value.place.function) == ("exception-return", "SVC_handler")


@everywhere
def test_the_exception_frame_can_overflow_the_stack(tmp_path: Path, engine: str) -> None:
    c = """
static char data[512];
void IRQ0_handler(void) {}
int main(void) {
    data[0] = 1;
    ISER = 1;
    __asm volatile("mov sp, %0" :: "r"((uint32_t)(data + 512 + 16)));
    ISPR = 1;
    BARRIER();
    for (;;) {}
}
"""
    machine = machine_of(tmp_path, "m3", engine, c)
    with pytest.raises(Fault, match="into static data") as caught:
        machine.run()
    assert caught.value.kind == "stack-overflow"


@everywhere
def test_restore_brings_back_what_was_pending_and_the_running_timer(
    tmp_path: Path, engine: str
) -> None:
    c = _BUSY.replace("busy(20000)", "mark(); busy(20000)").replace(
        "int main", '__attribute__((noipa)) void mark(void) { __asm volatile(""); }\nint main'
    )
    machine = machine_of(tmp_path, "m4f", engine, c, regions=("busy",))
    machine.run_until("mark")
    snapshot = machine.snapshot()
    first = machine.run(), machine.region("busy")
    machine.restore(snapshot)
    assert (machine.run(), machine.region("busy")) == first


@everywhere
def test_a_profile_shows_handlers_below_what_they_interrupted(tmp_path: Path, engine: str) -> None:
    machine = machine_of(tmp_path, "m3", engine, _BUSY, profile=True)
    ticks = machine.run()
    profile = machine.profile()
    calls = {one.name: one.calls for one in profile.functions}
    assert (calls["SysTick_handler"], calls["busy"]) == (ticks, 1)
    assert ("main", "busy", "SysTick_handler") in {one.frames[-3:] for one in profile.stacks()}
    assert sum(one.self_cycles for one in profile.functions) == machine.cycles
    own = {one.name: one.self_cycles for one in profile.functions}
    for name in ("busy", "SysTick_handler"):
        in_stacks = sum(one.cycles for one in profile.stacks() if one.frames[-1] == name)
        assert in_stacks == own[name]


@everywhere
@pytest.mark.parametrize("between", ["nop", "svc #0"])
def test_an_exception_makes_the_store_exclusive_behind_it_fail(
    tmp_path: Path, engine: str, between: str
) -> None:
    body = f"    ldr r1, =0x20000100\n    ldrex r0, [r1]\n    {between}\n    strex r2, r0, [r1]\n"
    assembly = _EMPTY_SVC + function("exclusive", body + "    mov r0, r2\n    bx lr\n    .ltorg")
    machine = machine_of(tmp_path, "m3", engine, _PLAIN_MAIN, assembly)
    machine.run_until("main")
    assert machine.call("exclusive") == (between != "nop")
    assert_explained(machine)


@everywhere
def test_the_core_writes_the_frame_in_the_touched_bytes(tmp_path: Path, engine: str) -> None:
    written = []
    for body in ("nop", "svc #0"):
        assembly = _EMPTY_SVC + function("main", f"    {body}\n    movs r0, #0\n    bx lr")
        machine = machine_of(tmp_path, "m3", engine, "void unused(void) {}", assembly, touched=True)
        machine.run()
        memories = machine.record().to_dict()["memory"]["touched"]["memories"]
        written.append(next(one["written"] for one in memories if one["name"] == "ram"))
    assert written[1] - written[0] == 32 - 8  # 8 bytes of it are written again later
