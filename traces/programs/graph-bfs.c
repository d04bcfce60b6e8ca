/* Breadth-first search of a graph in a file.

   graph-bfs make SCALE DEGREE SEED > FILE   2^SCALE vertices, DEGREE edges each on average, Kronecker as in Graph500
   graph-bfs run FILE                        search from the vertex of most edges, print how many were reached

   The file: vertices and edges as two 64-bit numbers, the first edge of each vertex (32-bit, one more than vertices),
   then the edges (32-bit vertex numbers). A search touches edges in runs and vertices at random. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t parent, depth;
    uint64_t payload[7]; /* a vertex of a real application carries data: one cache line in all */
} vertex;

static uint64_t state;

static uint64_t next(void) { /* xorshift64*, Vigna 2016 */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717u;
}

static double unit(void) { return (double)(next() >> 11) / 9007199254740992.0; }

static void *need(size_t bytes) {
    void *made = calloc(1, bytes);
    if (made == NULL) {
        fprintf(stderr, "graph-bfs: no memory\n");
        exit(1);
    }
    return made;
}

static void make(int scale, int degree, uint64_t seed) {
    uint64_t vertices = 1ull << scale, edges = vertices * degree;
    uint32_t *from = need(edges * 4), *to = need(edges * 4), *name = need(vertices * 4);
    uint32_t *first = need((vertices + 1) * 4), *place = need(vertices * 4), *sorted = need(edges * 4);
    state = seed * 2 + 1;
    for (uint64_t i = 0; i < vertices; i++) {
        uint64_t j = next() % (i + 1);
        name[i] = name[j];
        name[j] = (uint32_t)i;
    }
    for (uint64_t e = 0; e < edges; e++) {
        uint32_t a = 0, b = 0;
        for (int bit = 0; bit < scale; bit++) {
            double dice = unit(); /* quadrants 0.57, 0.19, 0.19, 0.05 */
            a = a << 1 | (dice >= 0.76);
            b = b << 1 | ((dice >= 0.57 && dice < 0.76) || dice >= 0.95);
        }
        from[e] = name[a];
        to[e] = name[b];
        first[from[e] + 1]++;
    }
    for (uint64_t v = 0; v < vertices; v++) first[v + 1] += first[v];
    memcpy(place, first, vertices * 4);
    for (uint64_t e = 0; e < edges; e++) sorted[place[from[e]]++] = to[e];
    fwrite(&vertices, 8, 1, stdout);
    fwrite(&edges, 8, 1, stdout);
    fwrite(first, 4, vertices + 1, stdout);
    fwrite(sorted, 4, edges, stdout);
}

static void run(const char *file) {
    FILE *in = fopen(file, "rb");
    uint64_t size[2];
    if (in == NULL || fread(size, 8, 2, in) != 2) {
        fprintf(stderr, "graph-bfs: %s is no graph\n", file);
        exit(1);
    }
    uint64_t vertices = size[0], edges = size[1];
    uint32_t *first = need((vertices + 1) * 4), *edge = need(edges * 4), *queue = need(vertices * 4);
    vertex *all = need(vertices * sizeof(vertex));
    if (fread(first, 4, vertices + 1, in) != vertices + 1 || fread(edge, 4, edges, in) != edges) {
        fprintf(stderr, "graph-bfs: %s ends too early\n", file);
        exit(1);
    }
    fclose(in);
    uint32_t root = 0, head = 0, tail = 0;
    for (uint32_t v = 1; v < vertices; v++)
        if (first[v + 1] - first[v] > first[root + 1] - first[root]) root = v;
    all[root].parent = root + 1; /* 0 is not reached yet */
    queue[tail++] = root;
    while (head < tail) {
        uint32_t here = queue[head++];
        for (uint32_t e = first[here]; e < first[here + 1]; e++) {
            vertex *there = &all[edge[e]];
            if (there->parent == 0) {
                there->parent = here + 1;
                there->depth = all[here].depth + 1;
                queue[tail++] = edge[e];
            }
        }
    }
    printf("%u of %llu vertices reached, depth %u\n", tail, (unsigned long long)vertices, all[queue[tail - 1]].depth);
}

int main(int count, char **said) {
    if (count == 5 && strcmp(said[1], "make") == 0)
        make(atoi(said[2]), atoi(said[3]), strtoull(said[4], NULL, 10));
    else if (count == 3 && strcmp(said[1], "run") == 0)
        run(said[2]);
    else {
        fprintf(stderr, "graph-bfs make SCALE DEGREE SEED > FILE | graph-bfs run FILE\n");
        return 2;
    }
    return 0;
}
