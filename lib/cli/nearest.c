#include "cli/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { LONGEST = 63, FARTHEST = 3 };

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Fills the table of distances between beginnings of the words, by rows; only the last three rows
 * are kept, since a swap looks back two. */
static int distance(const char *a, size_t n, const char *b, size_t m)
{
    int rows[3][LONGEST + 1];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i - 1) % 3], *second = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = smaller(above[j - 1] + !same(a[i - 1], b[j - 1]),
                             1 + smaller(above[j], row[j - 1]));
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                row[j] = smaller(row[j], second[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

const char *nearest_name(const char *word, const char *const *names, size_t count)
{
    const size_t n = strlen(word);
    const char *nearest = NULL, *continued = NULL;
    int least = FARTHEST + 1, continuations = 0;
    if (n == 0 || n > LONGEST)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const size_t m = strlen(names[i]);
        if (m > LONGEST)
            continue;
        if (m > n && !strncasecmp(names[i], word, n) && !continuations++)
            continued = names[i];
        const int far = distance(word, n, names[i], m);
        if (far < least && far <= (int)(n > m ? n : m) / 3) {
            least = far;
            nearest = names[i];
        }
    }
    return nearest ? nearest : continuations == 1 ? continued : NULL;
}
