/* emulate: lets code for AMX-BF16 and AVX512-BF16 run on a machine without them.
 *
 * A test is started with LD_PRELOAD=emulate.so (tests/unit/emulated.h does so). When the machine
 * meets an instruction that it lacks, it raises SIGILL. The handler below decodes the instruction,
 * computes its result in the registers that the kernel saved, and resumes after it. Instructions
 * that the machine has never reach the handler.
 *
 * The emulator knows LDTILECFG STTILECFG TILERELEASE TILEZERO TILELOADD TILELOADDT1 TILESTORED
 * TDPBF16PS, and, with every length, mask, broadcast and address, VDPBF16PS VCVTNE2PS2BF16
 * VCVTNEPS2BF16. For all other instructions, and for every use that Intel's manual forbids, it
 * prints one line on stderr and the process dies of SIGILL. A bad address is a segmentation fault
 * in this file, or a report of AddressSanitizer if this file is built with it. The emulator is
 * stricter than the manual in one point: it refuses a configuration with start_row, since no kernel
 * here restarts a load.
 *
 * It does not model time: a trap takes 2 to 10 microseconds, and instructions that follow one
 * another share a trap. */
#if defined(__x86_64__)
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/multiversion.h"

/* Exists so that dlsym() finds it in a program that runs with this emulator. */
extern const int emulate_amx_bf16;
const int emulate_amx_bf16 = 1;

enum { ROWS = 16, ROW_BYTES = 64, TILES = 8, VECTOR_BYTES = 64 };

/* ---- the machine that is missing ---- */

struct tile {
    unsigned rows, bytes;         /* as LDTILECFG set them; 0: there is no such tile */
    uint8_t row[ROWS][ROW_BYTES]; /* zero outside of rows and bytes */
};

/* Every thread has its own state and reaches it without a call, because a handler must not
 * allocate. */
static _Thread_local struct {
    bool configured;
    uint8_t config[64];
    struct tile tile[TILES];
} tiles __attribute__((tls_model("initial-exec")));

/* The saved registers: general ones, and the XSAVE area for the vectors. */
struct registers {
    greg_t *general;
    uint8_t *area;
};

/* The parts of an XSAVE area that are used here, by their numbers in it. */
enum { XMM = 1, YMM_HIGH = 2, MASKS = 5, ZMM_HIGH = 6, ZMM_16_31 = 7, PARTS };
static struct {
    uint32_t offset, size; /* size 0: this machine does not have it */
} parts[PARTS] = {[XMM] = {160, 256}};

/* Returns the memory of a part. A part whose bit is off in the header has its initial state, which
 * is zeros, whatever its memory holds. */
static uint8_t *part(const struct registers *r, int number)
{
    uint8_t *p = r->area + parts[number].offset;
    uint64_t present;
    memcpy(&present, r->area + 512, sizeof present);
    if (!(present >> number & 1)) {
        memset(p, 0, parts[number].size);
        present |= (uint64_t)1 << number;
        memcpy(r->area + 512, &present, sizeof present);
    }
    return p;
}

static void read_vector(const struct registers *r, unsigned number, void *to)
{
    uint8_t *v = to;
    if (number >= 16) {
        memcpy(v, part(r, ZMM_16_31) + 64 * (number - 16), 64);
        return;
    }
    memcpy(v, part(r, XMM) + 16 * number, 16);
    memcpy(v + 16, part(r, YMM_HIGH) + 16 * number, 16);
    memcpy(v + 32, part(r, ZMM_HIGH) + 32 * number, 32);
}

static void write_vector(const struct registers *r, unsigned number, const uint8_t *v)
{
    if (number >= 16) {
        memcpy(part(r, ZMM_16_31) + 64 * (number - 16), v, 64);
        return;
    }
    memcpy(part(r, XMM) + 16 * number, v, 16);
    memcpy(part(r, YMM_HIGH) + 16 * number, v + 16, 16);
    memcpy(part(r, ZMM_HIGH) + 32 * number, v + 32, 32);
}

/* ---- machine code ---- */

enum prefix { NONE, P66, PF3, PF2 };
enum {
    INT3 = 0xCC
}; /* replaces the first byte of an EVEX instruction after the first trap: see quicken() */

struct instruction {
    bool evex; /* otherwise VEX; both are of map 0F38 with W 0 */
    enum prefix prefix;
    unsigned opcode;
    unsigned reg, vvvv, rm; /* rm is a register unless `memory` is true */
    bool memory, sib;
    uint64_t base, index; /* the address is their sum, with the displacement and the scale */
    unsigned bytes;       /* bytes of a vector; only EVEX has the members after this one */
    unsigned mask;        /* 0: every element */
    bool zeroing, broadcast;
    const uint8_t *next;
};

static uint64_t general(const struct registers *r, unsigned number)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t)r->general[order[number]];
}

static int32_t displacement(const uint8_t **code, unsigned bytes)
{
    int32_t wide = (int8_t) * *code;
    if (bytes == 4)
        memcpy(&wide, *code, 4);
    *code += bytes;
    return wide;
}

/* Decodes the ModRM byte and the bytes after it. rxb: the prefix bits that extend reg, index and rm
 * by 8. */
static void decode_operands(struct instruction *i, const struct registers *r, const uint8_t *code,
                            unsigned rr, unsigned x, unsigned b)
{
    const unsigned mod = *code >> 6, low = *code & 7;
    i->reg = (*code++ >> 3 & 7) + rr;
    i->memory = mod != 3;
    if (!i->memory) {
        i->rm = low + b + (i->evex ? 2 * x : 0);
        i->next = code;
        return;
    }
    unsigned base = low;
    i->sib = low == 4;
    if (i->sib) {
        const unsigned index = (*code >> 3 & 7) + x;
        if (index != 4)
            i->index = general(r, index) << (*code >> 6);
        base = *code++ & 7;
    }
    /* In EVEX the unit of a short displacement is the operand's size. */
    const int32_t unit = !i->evex ? 1 : i->broadcast ? 4 : (int32_t)i->bytes;
    const bool bare = mod == 0 && base == 5; /* 32 bits without a base, or relative to RIP */
    int32_t offset = 0;
    if (mod == 1)
        offset = displacement(&code, 1) * unit;
    else if (mod == 2 || bare)
        offset = displacement(&code, 4);
    if (!bare)
        i->base = general(r, base + b);
    else if (!i->sib)
        i->base = (uintptr_t)code;
    i->base += (uint64_t)(int64_t)offset;
    i->next = code;
}

/* Decodes an instruction. Returns false if it cannot be one that the emulator knows. */
static bool decode(struct instruction *i, const struct registers *r, const uint8_t *code)
{
    *i = (struct instruction){.evex = code[0] == 0x62 || code[0] == INT3};
    if (code[0] == 0xC4 && (code[1] & 0x1F) == 2 && !(code[2] & 0x84)) {
        i->prefix = code[2] & 3;
        i->vvvv = ~code[2] >> 3 & 15;
        i->opcode = code[3];
        decode_operands(i, r, code + 4, ~code[1] >> 4 & 8, ~code[1] >> 3 & 8, ~code[1] >> 2 & 8);
        return true;
    }
    if (i->evex && (code[1] & 0x0F) == 2 && (code[2] & 0x84) == 4 && (code[3] & 0x60) != 0x60) {
        i->prefix = code[2] & 3;
        i->vvvv = (~code[2] >> 3 & 15) | (~(unsigned)code[3] << 1 & 16);
        i->opcode = code[4];
        i->zeroing = code[3] >> 7;
        i->bytes = 16U << (code[3] >> 5 & 3);
        i->broadcast = code[3] >> 4 & 1;
        i->mask = code[3] & 7;
        decode_operands(i, r, code + 5, (~code[1] >> 4 & 8) | (~code[1] & 16), ~code[1] >> 3 & 8,
                        ~code[1] >> 2 & 8);
        return true;
    }
    return false;
}

/* ---- tiles: each function returns what is wrong, or NULL ---- */

static const char *load_config(const struct instruction *i, const struct registers *r)
{
    (void)r;
    uint8_t config[64];
    memcpy(config, (const void *)(uintptr_t)(i->base + i->index), sizeof config);
    if (i->reg != 0)
        return "no such instruction";
    if (config[0] > 1)
        return "there is no palette but 1";
    if (config[0] == 0) { /* the same as TILERELEASE */
        memset(&tiles, 0, sizeof tiles);
        return NULL;
    }
    if (config[1] != 0)
        return "start_row is not 0";
    for (int at = 2; at < 64; at++)
        if ((at < 16 || (at >= 32 && at < 48) || at >= 56) && config[at] != 0)
            return "a reserved byte is not 0";
    for (int t = 0; t < TILES; t++) {
        const unsigned bytes = config[16 + 2 * t] | (unsigned)config[17 + 2 * t] << 8;
        const unsigned rows = config[48 + t];
        if (bytes > ROW_BYTES)
            return "more than 64 bytes in a row";
        if (rows > ROWS)
            return "more than 16 rows";
        if ((rows == 0) != (bytes == 0))
            return "a tile has either rows or bytes alone";
    }
    memset(&tiles, 0, sizeof tiles);
    tiles.configured = true;
    memcpy(tiles.config, config, sizeof config);
    for (int t = 0; t < TILES; t++) {
        tiles.tile[t].bytes = config[16 + 2 * t]; /* at most 64 */
        tiles.tile[t].rows = config[48 + t];
    }
    return NULL;
}

static const char *store_config(const struct instruction *i, const struct registers *r)
{
    (void)r;
    if (i->reg != 0)
        return "no such instruction";
    memcpy((void *)(uintptr_t)(i->base + i->index), tiles.config, sizeof tiles.config);
    return NULL;
}

static const char *missing(unsigned number)
{
    if (!tiles.configured)
        return "no configuration is loaded";
    if (number >= TILES || tiles.tile[number].rows == 0)
        return "the configuration has no such tile";
    return NULL;
}

static const char *release(const struct instruction *i, const struct registers *r)
{
    (void)r;
    if (i->reg != 0 || i->rm != 0)
        return "no such instruction";
    memset(&tiles, 0, sizeof tiles);
    return NULL;
}

static const char *zero(const struct instruction *i, const struct registers *r)
{
    (void)r;
    const char *wrong = i->rm != 0 ? "no such instruction" : missing(i->reg);
    if (!wrong)
        memset(tiles.tile[i->reg].row, 0, sizeof tiles.tile[i->reg].row);
    return wrong;
}

static const char *load_tile(const struct instruction *i, const struct registers *r)
{
    (void)r;
    const char *wrong = !i->sib ? "no such instruction" : missing(i->reg);
    if (wrong)
        return wrong;
    struct tile *t = &tiles.tile[i->reg];
    for (unsigned m = 0; m < t->rows; m++) /* the rest is zero already */
        memcpy(t->row[m], (const void *)(uintptr_t)(i->base + m * i->index), t->bytes);
    return NULL;
}

static const char *store_tile(const struct instruction *i, const struct registers *r)
{
    (void)r;
    const char *wrong = !i->sib ? "no such instruction" : missing(i->reg);
    if (wrong)
        return wrong;
    const struct tile *t = &tiles.tile[i->reg];
    for (unsigned m = 0; m < t->rows; m++)
        memcpy((void *)(uintptr_t)(i->base + m * i->index), t->row[m], t->bytes);
    return NULL;
}

/* Computes a tile product as the manual describes it: even and odd products are summed separately,
 * from zero, each with a fused multiply-add that rounds to nearest even; then even + odd is
 * rounded, and then its sum with the old value. c [rows][16], a [rows][depth] pairs, b [depth][16]
 * pairs. */
MULTIVERSION static void multiply_tiles(struct tile *c, const struct tile *a, const struct tile *b)
{
    for (unsigned m = 0; m < c->rows; m++) {
        float even[16] = {0}, odd[16] = {0}, sum[16];
        for (unsigned k = 0; k < b->rows; k++) {
            uint32_t left, right[16];
            memcpy(&left, a->row[m] + 4 * k, sizeof left);
            memcpy(right, b->row[k], sizeof right);
            const union {
                uint32_t bits;
                float value;
            } left_even = {left << 16}, left_odd = {left & 0xFFFF0000U};
            float right_even[16], right_odd[16];
            uint32_t shifted[16], cut[16];
            for (int n = 0; n < 16; n++) {
                shifted[n] = right[n] << 16;
                cut[n] = right[n] & 0xFFFF0000U;
            }
            memcpy(right_even, shifted, sizeof right_even);
            memcpy(right_odd, cut, sizeof right_odd);
            for (int n = 0; n < 16; n++) {
                even[n] = __builtin_fmaf(left_even.value, right_even[n], even[n]);
                odd[n] = __builtin_fmaf(left_odd.value, right_odd[n], odd[n]);
            }
        }
        memcpy(sum, c->row[m], sizeof sum);
        for (int n = 0; n < 16; n++) {
            const float both = even[n] + odd[n];
            sum[n] += both;
        }
        memcpy(c->row[m], sum, c->bytes); /* the bytes after these stay zero */
    }
}

static const char *dot_tiles(const struct instruction *i, const struct registers *r)
{
    (void)r;
    const unsigned number[3] = {i->reg, i->rm, i->vvvv};
    for (int n = 0; n < 3; n++) {
        const char *wrong = missing(number[n]);
        if (wrong)
            return wrong;
        if (tiles.tile[number[n]].bytes % 4 != 0)
            return "the bytes of a row are no multiple of 4";
    }
    if (i->reg == i->rm || i->reg == i->vvvv || i->rm == i->vvvv)
        return "the same tile twice";
    struct tile *c = &tiles.tile[i->reg];
    const struct tile *a = &tiles.tile[i->rm], *b = &tiles.tile[i->vvvv];
    if (c->rows != a->rows || a->bytes / 4 != b->rows || c->bytes != b->bytes)
        return "the tiles' rows and columns do not match";
    multiply_tiles(c, a, b);
    return NULL;
}

/* ---- vectors ---- */

static const char *bad_vector(const struct instruction *i)
{
    if (parts[ZMM_HIGH].size == 0)
        return "this machine has no AVX-512 to hold its registers";
    if ((i->broadcast && !i->memory) || (i->zeroing && i->mask == 0))
        return "no such instruction";
    return NULL;
}

static uint64_t mask_of(const struct instruction *i, const struct registers *r)
{
    uint64_t mask = UINT64_MAX;
    if (i->mask != 0)
        memcpy(&mask, part(r, MASKS) + 8 * i->mask, sizeof mask);
    return mask;
}

/* Reads the last operand's 32-bit lanes. Reads memory only for lanes in `needed`. */
static void read_lanes(const struct instruction *i, const struct registers *r, uint64_t needed,
                       uint32_t *lanes)
{
    memset(lanes, 0, VECTOR_BYTES);
    if (!i->memory) {
        read_vector(r, i->rm, lanes);
        return;
    }
    const uint64_t address = i->base + i->index;
    for (unsigned n = 0; n < i->bytes / 4; n++)
        if (needed >> n & 1)
            memcpy(&lanes[n], (const void *)(uintptr_t)(address + (i->broadcast ? 0 : 4 * n)), 4);
}

/* Writes elements of `size` bytes into reg under the mask, and zeros after them. */
static void write_elements(const struct instruction *i, const struct registers *r, uint64_t mask,
                           const void *elements, unsigned count, unsigned size)
{
    uint8_t old[VECTOR_BYTES], result[VECTOR_BYTES] = {0};
    read_vector(r, i->reg, old);
    for (unsigned n = 0; n < count; n++)
        if (mask >> n & 1)
            memcpy(result + n * size, (const uint8_t *)elements + n * size, size);
        else if (!i->zeroing)
            memcpy(result + n * size, old + n * size, size);
    write_vector(r, i->reg, result);
}

/* Computes products of pairs as the manual describes it: the odd product first, then the even one,
 * each a fused multiply-add. */
MULTIVERSION static void multiply_pairs(float sum[16], const uint32_t a[16], const uint32_t b[16])
{
    for (int odd = 1; odd >= 0; odd--) {
        uint32_t left[16], right[16];
        float x[16], y[16];
        for (int n = 0; n < 16; n++) {
            left[n] = odd ? a[n] & 0xFFFF0000U : a[n] << 16;
            right[n] = odd ? b[n] & 0xFFFF0000U : b[n] << 16;
        }
        memcpy(x, left, sizeof x);
        memcpy(y, right, sizeof y);
        for (int n = 0; n < 16; n++)
            sum[n] = __builtin_fmaf(x[n], y[n], sum[n]);
    }
}

static const char *dot_pairs(const struct instruction *i, const struct registers *r)
{
    const char *wrong = bad_vector(i);
    if (wrong)
        return wrong;
    const uint64_t mask = mask_of(i, r);
    float sum[16];
    uint32_t a[16], b[16];
    read_vector(r, i->reg, sum);
    read_vector(r, i->vvvv, a);
    read_lanes(i, r, mask, b);
    multiply_pairs(sum, a, b);
    write_elements(i, r, mask, sum, i->bytes / 4, 4);
    return NULL;
}

static uint16_t to_bfloat16(uint32_t x)
{
    const uint32_t magnitude = x & 0x7FFFFFFFU;
    if (magnitude < 0x00800000U) /* zero and denormals keep their sign */
        return (uint16_t)(x >> 16 & 0x8000U);
    if (magnitude > 0x7F800000U) /* a NaN becomes quiet */
        return (uint16_t)(x >> 16 | 0x40U);
    return (uint16_t)((x + 0x7FFFU + (x >> 16 & 1)) >> 16);
}

static const char *convert_one(const struct instruction *i, const struct registers *r)
{
    const char *wrong = i->vvvv != 0 ? "no such instruction" : bad_vector(i);
    if (wrong)
        return wrong;
    const uint64_t mask = mask_of(i, r);
    uint32_t lanes[16];
    uint16_t result[16];
    read_lanes(i, r, mask, lanes);
    for (int n = 0; n < 16; n++)
        result[n] = to_bfloat16(lanes[n]);
    write_elements(i, r, mask, result, i->bytes / 4, 2);
    return NULL;
}

/* Converts two vectors. The last operand fills the lower half. Its masked elements are read all the
 * same. */
static const char *convert_two(const struct instruction *i, const struct registers *r)
{
    const char *wrong = bad_vector(i);
    if (wrong)
        return wrong;
    const unsigned half = i->bytes / 4;
    uint32_t low[16], high[16];
    uint16_t result[32];
    read_lanes(i, r, UINT64_MAX, low);
    read_vector(r, i->vvvv, high);
    for (unsigned n = 0; n < half; n++) {
        result[n] = to_bfloat16(low[n]);
        result[half + n] = to_bfloat16(high[n]);
    }
    write_elements(i, r, mask_of(i, r), result, 2 * half, 2);
    return NULL;
}

/* ---- from SIGILL and back ---- */

enum where { REGISTER, MEMORY, EITHER };

static const struct form {
    bool evex;
    unsigned opcode;
    enum prefix prefix;
    enum where where;
    const char *name;
    const char *(*run)(const struct instruction *, const struct registers *);
} forms[] = {
    {false, 0x49, NONE, MEMORY, "LDTILECFG", load_config},
    {false, 0x49, P66, MEMORY, "STTILECFG", store_config},
    {false, 0x49, NONE, REGISTER, "TILERELEASE", release},
    {false, 0x49, PF2, REGISTER, "TILEZERO", zero},
    {false, 0x4B, PF2, MEMORY, "TILELOADD", load_tile},
    {false, 0x4B, P66, MEMORY, "TILELOADDT1", load_tile},
    {false, 0x4B, PF3, MEMORY, "TILESTORED", store_tile},
    {false, 0x5C, PF3, REGISTER, "TDPBF16PS", dot_tiles},
    {true, 0x52, PF3, EITHER, "VDPBF16PS", dot_pairs},
    {true, 0x72, PF2, EITHER, "VCVTNE2PS2BF16", convert_two},
    {true, 0x72, PF3, EITHER, "VCVTNEPS2BF16", convert_one},
};

static const struct form *find_form(const struct instruction *i)
{
    for (size_t n = 0; n < sizeof forms / sizeof *forms; n++) {
        const struct form *f = &forms[n];
        if (f->evex == i->evex && f->opcode == i->opcode && f->prefix == i->prefix &&
            (f->where == EITHER || (f->where == MEMORY) == i->memory))
            return f;
    }
    return NULL;
}

/* Prints the reason and ends the process at the present instruction. */
static void give_up(const char *name, const char *wrong, const uint8_t *code)
{
    char line[160];
    const int length =
        snprintf(line, sizeof line, "emulate: %s at %p: %s\n", name, (const void *)code, wrong);
    if (write(STDERR_FILENO, line, (size_t)length) != length)
        _exit(126);
    sigaction(SIGILL, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    raise(SIGILL); /* takes effect when the handler returns */
}

/* Replaces the first byte of an EVEX instruction by int3. The host of a virtual machine handles
 * every illegal instruction before the kernel does, so that trap takes 10 microseconds, while int3
 * takes 2. Tile instructions do so much work that this does not matter. */
static void quicken(const uint8_t *code)
{
    const uintptr_t page = (uintptr_t)code & ~(uintptr_t)4095;
    if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0)
        __atomic_store_n((uint8_t *)(uintptr_t)code, INT3, __ATOMIC_RELAXED);
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    (void)info;
    mcontext_t *saved = &((ucontext_t *)context)->uc_mcontext;
    const uint8_t *code = (const uint8_t *)saved->gregs[REG_RIP] - (number == SIGTRAP);
    const uint8_t *first = code;
    const struct registers r = {saved->gregs, (uint8_t *)saved->fpregs};
    /* Set the mode of all sums: denormals are zeros in operands and results, rounding is to nearest
     * even, and there are no exceptions. */
    __builtin_ia32_ldmxcsr(0x9FC0);
    struct instruction i;
    const struct form *f;
    while (decode(&i, &r, code) && (f = find_form(&i)) != NULL) {
        const char *wrong = f->run(&i, &r);
        if (wrong) {
            give_up(f->name, wrong, code);
            return;
        }
        if (number == SIGILL && i.evex && code == first)
            quicken(code);
        code = i.next;
        saved->gregs[REG_RIP] = (greg_t)(uintptr_t)code;
    }
    if (code == first)
        give_up("instruction", "unknown to this machine and to the emulator", code);
}

/* Ignores cmocka's request for SIGILL, which it wants for reporting crashes, so that the emulator
 * keeps the signal. */
__sighandler_t signal(int number, __sighandler_t handler)
{
    if (number == SIGILL)
        return SIG_DFL;
    __sighandler_t (*real)(int, __sighandler_t);
    void *found = dlsym(RTLD_NEXT, "signal");
    memcpy(&real, &found, sizeof real);
    return real(number, handler);
}

__attribute__((constructor)) static void emulate(void)
{
    for (unsigned n = YMM_HIGH; n < PARTS; n++) {
        unsigned unused_c, unused_d;
        __get_cpuid_count(0xD, n, &parts[n].size, &parts[n].offset, &unused_c, &unused_d);
    }
    const struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGTRAP, &action, NULL);
}
#endif
