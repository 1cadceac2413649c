#include "report/progress_bar.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"

enum {
    FIELDS = 7,
    FIELD_SIZE = 64,
    LINE_SIZE = 512,
    SHORTEST_BAR = 12, /* columns */
    LONGEST_BAR = 40,
    LINES_PER_RUN = 40 /* if stderr is not a terminal: one line every 2.5 % of the steps */
};

struct progress_bar {
    bool terminal;
    bool open;  /* the line on the terminal has no newline yet */
    bool shown; /* the last frame has been shown */
    int64_t frames, first_step, shown_step;
    double start, shown_at;

    int64_t step, steps, steps_per_epoch, batch, epoch;   /* -1 if unknown */
    double loss, accuracy, contrast_acc, lr, views_per_s; /* NaN if unknown */
};

struct progress_bar *progress_bar_new(void)
{
    struct progress_bar *b = calloc(1, sizeof *b);
    if (!b)
        return fail_null("out of memory");
    b->terminal = isatty(STDERR_FILENO);
    return b;
}

/* Reads the frame's values. */
static int read_values(struct progress_bar *b, const struct frame *f)
{
    return frame_meta_int(f, "step", -1, &b->step) || frame_meta_int(f, "steps", -1, &b->steps) ||
                   frame_meta_int(f, "steps_per_epoch", -1, &b->steps_per_epoch) ||
                   frame_meta_int(f, "batch", -1, &b->batch) ||
                   frame_meta_int(f, "epoch", -1, &b->epoch) ||
                   frame_meta_double(f, "loss", NAN, &b->loss) ||
                   frame_meta_double(f, "accuracy", NAN, &b->accuracy) ||
                   frame_meta_double(f, "contrast_acc", NAN, &b->contrast_acc) ||
                   frame_meta_double(f, "lr", NAN, &b->lr) ||
                   frame_meta_double(f, "views_per_s", NAN, &b->views_per_s)
               ? -1
               : 0;
}

/* Returns the number of steps that are complete; steps are numbered from 0. */
static int64_t done(const struct progress_bar *b)
{
    return b->step + 1;
}

/* Writes a time such as "2h05m left". */
static void write_time(char *out, double seconds)
{
    int64_t s = (int64_t)fmin(seconds + 0.5, 1e9);
    if (s >= 86400)
        snprintf(out, FIELD_SIZE, "%" PRId64 "d%02" PRId64 "h left", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(out, FIELD_SIZE, "%" PRId64 "h%02" PRId64 "m left", s / 3600, s / 60 % 60);
    else
        snprintf(out, FIELD_SIZE, "%" PRId64 "m%02" PRId64 "s left", s / 60, s % 60);
}

/* Writes the fields in the order in which they are shown, and "" for one that is unknown. */
static void write_fields(const struct progress_bar *b, char field[FIELDS][FIELD_SIZE])
{
    memset(field, 0, FIELDS * FIELD_SIZE);
    if (b->step >= 0 && b->steps > 0)
        snprintf(field[0], FIELD_SIZE, "step %" PRId64 "/%" PRId64, done(b), b->steps);
    else if (b->step >= 0)
        snprintf(field[0], FIELD_SIZE, "step %" PRId64, done(b));
    if (b->epoch >= 0 && b->steps > 0 && b->steps_per_epoch > 0)
        snprintf(field[1], FIELD_SIZE, "epoch %" PRId64 "/%" PRId64, b->epoch + 1,
                 (b->steps - 1) / b->steps_per_epoch + 1);
    else if (b->epoch >= 0)
        snprintf(field[1], FIELD_SIZE, "epoch %" PRId64, b->epoch + 1);
    if (!isnan(b->loss))
        snprintf(field[2], FIELD_SIZE, "loss %.4f", b->loss);
    const double accuracy = isnan(b->contrast_acc) ? b->accuracy : b->contrast_acc;
    if (!isnan(accuracy))
        snprintf(field[3], FIELD_SIZE, "acc %.1f%%", 100 * accuracy);
    if (!isnan(b->lr))
        snprintf(field[4], FIELD_SIZE, "lr %.4g", b->lr);
    if (!isnan(b->views_per_s))
        snprintf(field[5], FIELD_SIZE, "%.4g views/s", b->views_per_s);
    if (b->steps > done(b) && b->step > b->first_step) {
        double each = (clock_now() - b->start) / (double)(b->step - b->first_step);
        write_time(field[6], each * (double)(b->steps - done(b)));
    }
}

/* Joins the fields that are not empty. Returns the length of the line. */
static size_t join(char field[FIELDS][FIELD_SIZE], char line[LINE_SIZE])
{
    size_t n = 0;
    line[0] = 0;
    for (int i = 0; i < FIELDS; i++)
        if (*field[i])
            n += (size_t)snprintf(line + n, LINE_SIZE - n, "%s%s", n ? "  " : "", field[i]);
    return n;
}

static void draw_bar(const struct progress_bar *b, int cells)
{
    double part = (double)done(b) / (double)b->steps;
    int full = (int)(part * (cells - 2));
    full = full > cells - 2 ? cells - 2 : full;
    fputc('[', stderr);
    for (int i = 0; i < cells - 2; i++)
        fputc(i < full ? '=' : (i == full ? '>' : ' '), stderr);
    fputs("] ", stderr);
}

/* Draws the line. On a narrow terminal it leaves out, one after another, the learning rate,
 * views/s, the epoch, the accuracy, the time left and the loss. */
static void draw(const struct progress_bar *b)
{
    static const int dispensable[] = {4, 5, 1, 3, 6, 2};
    struct winsize w = {0};
    char field[FIELDS][FIELD_SIZE], line[LINE_SIZE];
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || !w.ws_col ? 80 : w.ws_col;
    bool bounded = b->step >= 0 && b->steps > 0;
    write_fields(b, field);
    int n = (int)join(field, line), needed = bounded ? SHORTEST_BAR + 1 : 0;
    for (size_t i = 0; i < sizeof dispensable / sizeof *dispensable; i++) {
        if (n + needed < columns)
            break;
        *field[dispensable[i]] = 0;
        n = (int)join(field, line);
    }
    int cells = columns - 2 - n;
    cells = cells > LONGEST_BAR ? LONGEST_BAR : cells;
    fputc('\r', stderr);
    if (bounded && cells >= 3)
        draw_bar(b, cells);
    fprintf(stderr, "%.*s\033[K", columns - 1, line);
    fflush(stderr);
}

static void show(struct progress_bar *b, double now)
{
    if (b->terminal) {
        draw(b);
        b->open = true;
    } else {
        char field[FIELDS][FIELD_SIZE], line[LINE_SIZE];
        write_fields(b, field);
        join(field, line);
        fprintf(stderr, "%s\n", line);
    }
    b->shown = true;
    b->shown_at = now;
    b->shown_step = b->step;
}

static bool is_due(const struct progress_bar *b, double now)
{
    double since = now - b->shown_at, elapsed = now - b->start;
    if (b->frames == 0)
        return true;
    if (b->terminal)
        return since >= 0.1;
    if (b->steps > 0 && b->step - b->shown_step >= (b->steps + LINES_PER_RUN - 1) / LINES_PER_RUN)
        return true;
    return since >= fmax(10, elapsed / 20);
}

int progress_bar_update(struct progress_bar *b, const struct frame *f)
{
    double now = clock_now();
    if (read_values(b, f))
        return -1;
    if (b->frames == 0) {
        b->start = now;
        b->first_step = b->step;
    }
    b->shown = false;
    if (is_due(b, now))
        show(b, now);
    b->frames++;
    return 0;
}

void progress_bar_break(struct progress_bar *b)
{
    if (b->open)
        fputc('\n', stderr);
    b->open = false;
}

void progress_bar_finish(struct progress_bar *b)
{
    if (!b)
        return;
    if (b->frames && !b->shown)
        show(b, clock_now());
    progress_bar_break(b);
    free(b);
}
