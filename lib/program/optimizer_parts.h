/* optimizer_parts: what optimizer.h hides, shared by the files that implement it: optimizer.c
 * (flags, requests), optimizer_state.c (what is owned, and its files) and optimizer_settings.c
 * (what a state was made with). */
#ifndef OPTIMIZER_PARTS_H
#define OPTIMIZER_PARTS_H

#include "frame/frame.h"
#include "program/optimizer.h"

enum {
    NAME_MAX_BYTES = 400 /* of a parameter: SLOT/NAME fits into 512 */
};

struct entry {
    char *name;
    enum dtype dtype;
    int ndim;
    int64_t shape[FRAME_MAX_DIMS];
    size_t count, bytes;
    void *value;
    float *slots[4];
    bool buffer;
    bool frozen;     /* kept as it is: no gradient of it comes */
    int client;      /* who joined with it; -1: nobody yet (a resumed state's) */
    int64_t updated; /* the step it was last sent in; -1: not yet */
};

struct request { /* one that came before its step */
    struct frame *frame;
    int client;
};

/* What a run is made with, as its requests say; -1: they do not. */
enum { RUN_SETTINGS = 4 };
struct run_settings {
    int64_t values[RUN_SETTINGS];
};

struct optimizer {
    struct server *server;
    const struct optimizer_rule *rule;
    const struct optimizer_config *config;
    struct entry *entries;
    int n_entries;
    float *widened; /* NULL, or room for the largest parameter's gradient */
    size_t largest; /* of its values */
    int64_t step;   /* the one under way */
    int64_t steps;  /* of the whole run, as the last request said; 0: none did */
    int64_t saved;
    struct run_settings run;     /* as the requests say */
    struct run_settings resumed; /* as the resumed state says */
    int64_t resumed_steps;       /* of its run, or what they were told to be now; 0: unknown */
    bool checked;                /* that clients have joined with all that a resumed state holds */
    struct {
        bool joined, ended;
        int64_t ahead; /* the latest step it sent anything for */
    } * clients;
    int n_clients;
    struct request *waiting;
    int n_waiting;
};

/* ---- what is owned (optimizer_state.c); -1 or NULL: with a message ---- */

struct entry *optimizer_find(struct optimizer *o, const char *name); /* NULL: no message */
/* Takes a copy of the tensor over. */
struct entry *optimizer_add(struct optimizer *o, const struct tensor *t);
void optimizer_remove(struct optimizer *o, int entry);
/* A gradient may come as BF16, and is answered so. */
bool optimizer_is_half(const struct entry *e, const struct tensor *t);
int optimizer_check_shape(const struct entry *e, const struct tensor *t, bool half);
void optimizer_release(struct optimizer *o);

/* All entries as a model, or with their slots and what they were made with as a state. */
struct frame *optimizer_pack(const struct optimizer *o, bool slots);
/* Nothing is written to "", or if nobody joined, or a value is not finite: what is there stays. */
int optimizer_save(const struct optimizer *o, const char *path, bool slots);
int optimizer_save_state(struct optimizer *o); /* unless this step's was */
int optimizer_keep_model(const struct optimizer *o);
int optimizer_load_state(struct optimizer *o);

/* ---- what it was made with (optimizer_settings.c) ---- */

/* What a request says of its run. -1 with a message: a resumed state was made with other settings.
 */
int settings_check(const struct optimizer *o, const struct frame *request);
/* The same of gradients, whose run has o->steps steps, which must not be done, and takes it over.
 * That these are others than a resumed state's is told on stderr. */
int settings_take(struct optimizer *o, const struct frame *request);
/* Writes them, and the optimizer's own flags, into a state. */
void settings_write(const struct optimizer *o, struct frame *state);
/* Reads those of a run from a state, and compares the flags. -1 with a message. */
int settings_resume(struct optimizer *o, const struct frame *state);

#endif
