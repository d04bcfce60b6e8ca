/* A program whose addresses depend on nothing around it: no library, no arguments, its own stack, a fixed place in
 * memory. Two tools that watch it in two runs therefore see the same references. It sorts, probes a hash table and
 * walks a matrix against the grain, in turns, so that instructions are evicted as well as data.
 */

#define WORDS 2000
#define SLICE 100
#define BUCKETS 4096
#define SIDE 64

typedef unsigned long word;

static word values[WORDS] __attribute__((aligned(64)));
static word table[BUCKETS] __attribute__((aligned(64)));
static unsigned visits[BUCKETS] __attribute__((aligned(64)));
static unsigned matrix[SIDE][SIDE] __attribute__((aligned(64)));
static word stack[1 << 13] __attribute__((aligned(64), used));

__attribute__((noinline)) static word next(word *state) {
    *state = *state * 6364136223846793005UL + 1442695040888963407UL;
    return *state >> 33;
}

__attribute__((noinline)) static void sort(word *low, word *high) {
    while (high - low > 1) {
        word pivot = low[(high - low) / 2], *left = low, *right = high - 1;
        while (left <= right) {
            while (*left < pivot) left++;
            while (*right > pivot) right--;
            if (left <= right) {
                word held = *left;
                *left++ = *right;
                *right-- = held;
            }
        }
        sort(low, right + 1);
        low = left;
    }
}

__attribute__((noinline)) static void probe(word *state) {
    for (int turn = 0; turn < 60; turn++) {
        word key = next(state) % 1500 + 1, slot = key * 2654435761UL % BUCKETS;
        while (table[slot] && table[slot] != key) slot = (slot + 1) % BUCKETS;
        table[slot] = key;
        visits[slot]++;
    }
}

__attribute__((noinline)) static word walk(int turn) {
    word sum = 0;
    for (int column = turn % 4; column < SIDE; column += 4)
        for (int row = 0; row < SIDE; row++) sum += matrix[row][column] += row;
    return sum;
}

__attribute__((noreturn, used)) void work(void) {
    word state = 42, sum = 0;
    for (int i = 0; i < WORDS; i++) values[i] = next(&state);
    for (int turn = 0; turn < WORDS / SLICE; turn++) {
        sort(values + turn * SLICE, values + (turn + 1) * SLICE);
        probe(&state);
        sum += walk(turn);
    }
    sort(values, values + WORDS);
    int failed = sum == 0;
    for (int i = 1; i < WORDS; i++) failed |= values[i - 1] > values[i];
    __asm__ volatile("syscall" : : "a"(60), "D"((long)failed) : "rcx", "r11", "memory");
    __builtin_unreachable();
}

__asm__(".globl _start\n_start:\n\tleaq stack+65536(%rip), %rsp\n\tcall work\n");
