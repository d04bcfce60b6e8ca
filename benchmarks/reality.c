/* The kernels that reality.py times on the host: a chain of additions, a pointer chase, and streams.

   Compiled with -fno-tree-loop-distribute-patterns, or the copy would become memcpy, which passes caches by. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

typedef uint64_t vector __attribute__((vector_size(32)));

enum { READ, WRITE, COPY, MOST_THREADS = 64, MOST_SAMPLES = 1024 };

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Seconds of this thread for `adds` additions (a multiple of 64), each of which waits for the one before. */
double add(uint64_t adds) {
    uint64_t x = adds, one = 1;
    __asm__ volatile("" : "+r"(one)); /* a register: a constant may be folded where registers are renamed */
    double begun = now(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t i = 0; i < adds; i += 64) {
#pragma GCC unroll 64
        for (int k = 0; k < 64; k++) {
            x += one;
            __asm__ volatile("" : "+r"(x));
        }
    }
    double spent = now(CLOCK_THREAD_CPUTIME_ID) - begun;
    return spent;
}

/* Write into each line the address of the next in `order`; the last leads to the first. */
void link_lines(char *base, const uint32_t *order, uint64_t lines, uint64_t line) {
    for (uint64_t i = 0; i < lines; i++)
        *(void **)(base + order[i] * line) = base + order[i + 1 < lines ? i + 1 : 0] * line;
}

/* Seconds of this thread for `loads` loads from *at on, each of which waits for the one before; moves *at on. */
double chase(void **at, uint64_t loads) {
    void **p = *at;
    double begun = now(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t i = 0; i < loads; i += 16) {
#pragma GCC unroll 16
        for (int k = 0; k < 16; k++) {
            p = *p;
            __asm__ volatile("" : "+r"(p));
        }
    }
    double spent = now(CLOCK_THREAD_CPUTIME_ID) - begun;
    *at = p;
    return spent;
}

struct plan {
    int kind, threads, samples, steps;
    uint64_t away, vectors, rounds, step;
    cpu_set_t allowed;
    atomic_int arrived;
};

struct worker {
    struct plan *plan;
    int place;
    char *base;
    double begun[MOST_SAMPLES], ended[MOST_SAMPLES];
};

static void once(int kind, vector *restrict to, vector *restrict from, uint64_t n) {
    vector held[8] = {0};
    if (kind == READ)
        for (uint64_t i = 0; i < n; i += 8) {
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++)
                held[k] += to[i + k];
        }
    else if (kind == WRITE)
        for (uint64_t i = 0; i < n; i += 8) {
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++)
                to[i + k] = held[k];
        }
    else
        for (uint64_t i = 0; i < n; i += 8) {
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++)
                to[i + k] = from[i + k];
        }
    for (int k = 1; k < 8; k++)
        held[0] += held[k];
    __asm__ volatile("" : : "r"(to), "r"(held[0][0]) : "memory"); /* all of it is wanted */
}

/* Put the calling thread on a processor of its own: a busy system may leave all of them on one. */
static void settle(const cpu_set_t *allowed, int place) {
    place %= CPU_COUNT(allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, allowed) && place-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        }
}

static void *streaming(void *given) {
    struct worker *w = given;
    struct plan *p = w->plan;
    if (p->threads > 1)
        settle(&p->allowed, w->place);
    for (int k = 0; k < p->samples; k++) {
        char *at = w->base + p->step * (k % p->steps);
        atomic_fetch_add(&p->arrived, 1);
        while (atomic_load(&p->arrived) < p->threads * (k + 1)) /* to yield could cost a turn after others begin */
            ;
        w->begun[k] = now(CLOCK_MONOTONIC);
        for (uint64_t i = 0; i < p->rounds; i++)
            once(p->kind, (vector *)at, (vector *)(at + p->away), p->vectors);
        w->ended[k] = now(CLOCK_MONOTONIC);
    }
    return 0;
}

/* Seconds of the shortest of several samples, each from when its first thread begins to when its last ends.

   In a sample each thread goes `rounds` times over `bytes` (a multiple of 512) of its own, from bases[thread] on, or
   copies half as many to there from `away` bytes further on; each sample begins `step` bytes further, and after `steps`
   samples at the front again. Negative if the system gives no memory or threads. */
double stream(int kind, int threads, char **bases, uint64_t away, uint64_t bytes, uint64_t rounds, int samples,
              uint64_t step, int steps) {
    pthread_t thread[MOST_THREADS];
    uint64_t vectors = bytes / sizeof(vector) / (kind == COPY ? 2 : 1);
    struct plan plan = {kind, threads, samples, steps, away, vectors, rounds, step, {{0}}, 0};
    struct worker *all = calloc(threads, sizeof *all);
    double best = -1;
    int made = 1;
    if (!all || threads > MOST_THREADS || samples > MOST_SAMPLES)
        goto end;
    pthread_getaffinity_np(pthread_self(), sizeof plan.allowed, &plan.allowed);
    for (int i = 0; i < threads; i++)
        all[i].plan = &plan, all[i].place = i, all[i].base = bases[i];
    while (made < threads && !pthread_create(&thread[made], 0, streaming, &all[made]))
        made++;
    if (made == threads)
        streaming(&all[0]);
    else
        atomic_store(&plan.arrived, threads * (samples + 1)); /* let those that wait go */
    for (int i = 1; i < made; i++)
        pthread_join(thread[i], 0);
    pthread_setaffinity_np(pthread_self(), sizeof plan.allowed, &plan.allowed);
    for (int k = 0; made == threads && k < samples; k++) {
        double begun = all[0].begun[k], ended = all[0].ended[k];
        for (int i = 1; i < threads; i++) {
            begun = all[i].begun[k] < begun ? all[i].begun[k] : begun;
            ended = all[i].ended[k] > ended ? all[i].ended[k] : ended;
        }
        if (best < 0 || ended - begun < best)
            best = ended - begun;
    }
end:
    free(all);
    return best;
}
