#include "schedule.h"

#include <math.h>

double schedule_rate(const struct schedule *s, const struct progress_point *at)
{
    double base = s->base_lr > 0 ? s->base_lr : s->sqrt_scaling ? 0.075 : 0.3;
    double batch = (double)at->batch;
    double peak = s->lr > 0 ? s->lr : base * (s->sqrt_scaling ? sqrt(batch) : batch / 256);
    int64_t warmup = s->warmup_steps >= 0
                         ? s->warmup_steps
                         : (int64_t)(s->warmup_epochs * (double)at->steps_per_epoch);
    if (at->step < warmup)
        return peak * (double)at->step / (double)warmup;
    if (s->constant)
        return peak;
    int64_t rest = at->steps - warmup;
    double done = (double)(at->step - warmup) / (double)(rest > 0 ? rest : 1);
    return peak * 0.5 * (1 + cos(M_PI * (done < 1 ? done : 1)));
}
