#include "optimizer/schedule.h"

#include <math.h>

double schedule_rate(const struct schedule *s, const struct schedule_point *at)
{
    const double base = s->base_lr >= 0 ? s->base_lr : s->sqrt_scaling ? 0.075 : 0.3;
    const double batch = (double)at->batch;
    const double peak = s->lr >= 0 ? s->lr : base * (s->sqrt_scaling ? sqrt(batch) : batch / 256);
    const double warmup = s->warmup_steps >= 0
                              ? (double)s->warmup_steps
                              : floor(s->warmup_epochs * (double)at->steps_per_epoch);
    const double step = (double)at->step;
    if (step < warmup)
        return peak * step / warmup;
    if (s->constant)
        return peak;
    const double done = (step - warmup) / fmax((double)at->steps - warmup, 1);
    return peak * 0.5 * (1 + cos(M_PI * fmin(done, 1)));
}
