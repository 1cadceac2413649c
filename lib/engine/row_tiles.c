#include "engine/row_tiles.h"

#include "base/count.h"

struct row_tiles row_tiles_cut(int64_t images, int64_t grains, int64_t rows, int64_t together,
                               int64_t unit, size_t most, row_tiles_bytes *bytes, const void *of)
{
    struct row_tiles s = {.grid_rows = rows, .images_per_grain = images / grains, .n = together};
    if (s.n > s.images_per_grain)
        s.n = s.images_per_grain;
    s.rows = rows;
    if (bytes(of, s.n, rows) > most) {
        int64_t low = 1, high = rows;
        while (low < high) {
            const int64_t middle = (low + high + 1) / 2;
            if (bytes(of, s.n, middle) <= most)
                low = middle;
            else
                high = middle - 1;
        }
        s.rows = count_round_up(count_divide_up(rows, count_divide_up(rows, low)),
                                unit); /* tiles of about equal size */
    }
    while (s.rows == rows && 2 * s.n <= s.images_per_grain && bytes(of, 2 * s.n, rows) <= most)
        s.n *= 2;
    s.per_image = count_divide_up(rows, s.rows);
    s.per_grain = count_divide_up(s.images_per_grain, s.n) * s.per_image;
    s.count = grains * s.per_grain;
    return s;
}

struct row_tile row_tiles_at(const struct row_tiles *k, int64_t i)
{
    const int64_t in_grain = i % k->per_grain, first = in_grain / k->per_image * k->n;
    const int64_t images = k->images_per_grain - first, row = in_grain % k->per_image * k->rows;
    return (struct row_tile){.image = i / k->per_grain * k->images_per_grain + first,
                             .images = images < k->n ? images : k->n,
                             .row = row,
                             .rows = k->grid_rows - row < k->rows ? k->grid_rows - row : k->rows};
}
