#include "loss/hcl.h"

#include <math.h>

#include "loss/pair_loss.h"

/* The method. With g = G / P, a row's loss is ln(1 + g), which is no difference of rounded numbers
 * if it is near 0. With A = sum N_k^(1 + beta) and C = sum N_k^beta, R / P is e^r for
 *
 *     r = ln n' + ln A - ln C - s_ip
 *
 * and the lower bound of g is e^f with f = ln n' - 1 / T - s_ip. If one of these exponentials could
 * overflow, all are divided by the largest, e^m; the 1 in 1 + g is then far below rounding.
 *
 * Derivatives. If the estimate is taken, those of the loss are
 *
 *     by s_ip   -W,  W = R / ((1 - tau) (P + G))
 *     by s_ik   W ((1 + beta) N_k^(1 + beta) / A - beta N_k^beta / C)
 *
 * since G + tau n' P / (1 - tau) = R / (1 - tau). At the lower bound they are -G / (P + G) and 0. */

static void compute(const void *settings, struct pair_row *row, int64_t n)
{
    const struct hcl_settings *s = settings;
    const double negatives = (double)(n - 2), certain = 1 - s->tau_plus;
    const double r = log(negatives * (row->high / row->low)) + (row->shift - row->positive);
    const double f = log(negatives) - (1 / s->temperature + row->positive);
    const double m = fmax(r, f) > 500 ? fmax(r, f) : 0, one = exp(-m);
    const double hard = exp(r - m), least = exp(f - m);
    const double estimate = (hard - s->tau_plus * negatives * one) / certain;
    const bool bounded = estimate < least; /* false for NaN */
    const double g = bounded ? least : estimate;
    const double weight = bounded ? 0 : hard / certain / (one + g);
    row->loss = m > 0 ? m + log(one + g) : log1p(g);
    row->pull = bounded ? g / (one + g) : weight;
    row->high_weight = weight * (1 + s->beta) / row->high;
    row->low_weight = weight * s->beta / row->low;
}

int hcl(const struct loss_input *in, const struct hcl_settings *settings, float *dz,
        struct loss_metrics *metrics)
{
    struct hcl_settings s = *settings;
    const struct pair_loss loss = {
        .temperature = s.temperature, .beta = s.beta, .compute = compute};
    return pair_loss(in, &loss, &s, dz, metrics);
}
