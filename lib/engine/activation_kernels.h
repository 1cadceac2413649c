/* activation_kernels: the functions of activations.h for one type of values. It is a template,
 * which each of activations_*.c includes once, after it has defined
 *
 *   ELEMENT       the type of a value in memory
 *   WIDEN(e)      the float that e stands for
 *   NARROW(v)     the ELEMENT nearest to the float v
 *   KEY           the signed integer as wide as an ELEMENT
 *   key_of(e)     a key that grows with e, and is largest for NaNs
 *   value_of(k)   the ELEMENT that has the key k
 *   MAPS, NAME    the struct that the functions go into, and its name
 *
 * All loops over channels are plain C that the compiler vectorizes, with versions for each
 * instruction set (MULTIVERSION). Tasks are handed to threads outside of those functions, because
 * OpenMP's regions cannot have such versions. */
#include "engine/activation_halves.h"
#include "engine/activation_norms.h"
#include "engine/activation_pools.h"
#include "engine/activation_values.h"
#include "engine/activations.h"

const struct activations MAPS = {
    .name = NAME,
    .element = sizeof(ELEMENT),
    .norm_forward = norm_forward,
    .norm_partials = norm_partials,
    .norm_backward_sums = norm_backward_sums,
    .norm_backward = norm_backward,
    .max_pool = max_pool,
    .max_pool_backward = max_pool_backward,
    .average_pool = average_pool,
    .average_pool_backward = average_pool_backward,
    .mean_pool = mean_pool,
    .mean_pool_backward = mean_pool_backward,
    .halves_mean = halves_mean,
    .halves_mean_backward = halves_mean_backward,
    .halves_mix = halves_mix,
    .halves_mix_backward = halves_mix_backward,
    .load_bytes = load_bytes,
    .load_floats = load_floats,
    .store_floats = store_floats,
};
