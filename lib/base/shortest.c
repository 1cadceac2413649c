#include "base/shortest.h"

#include <stdio.h>
#include <stdlib.h>

void shortest_print(char text[SHORTEST_TEXT], double value)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, SHORTEST_TEXT, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}
