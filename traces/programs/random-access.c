/* Random updates of a table, after the RandomAccess benchmark of the HPC Challenge (GUPS).

   random-access BITS UPDATES   a table of 2^BITS words of 8 bytes; prints a checksum

   128 independent sequences of the polynomial x^63 + x^2 + x + 1 say which word is next. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAMS 128
#define POLY 7

int main(int count, char **said) {
    if (count != 3) {
        fprintf(stderr, "random-access BITS UPDATES\n");
        return 2;
    }
    uint64_t words = 1ull << atoi(said[1]), updates = strtoull(said[2], NULL, 10), sum = 0;
    uint64_t *table = calloc(words, 8), ran[STREAMS];
    if (table == NULL) {
        fprintf(stderr, "random-access: no memory\n");
        return 1;
    }
    for (uint64_t j = 0; j < STREAMS; j++) { /* splitmix64, so that the sequences start far from each other */
        uint64_t z = (j + 1) * 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        ran[j] = z ^ (z >> 31);
    }
    for (uint64_t i = 0; i < updates / STREAMS; i++)
        for (uint64_t j = 0; j < STREAMS; j++) {
            ran[j] = (ran[j] << 1) ^ ((int64_t)ran[j] < 0 ? POLY : 0);
            table[ran[j] & (words - 1)] ^= ran[j];
        }
    for (uint64_t j = 0; j < STREAMS; j++) sum ^= table[ran[j] & (words - 1)];
    printf("%016llx\n", (unsigned long long)sum);
    return 0;
}
