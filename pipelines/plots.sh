# shellcheck shell=bash
# ablate sources this. It draws the table of a study.
#
#   plot KIND TABLE.tsv PICTURE.svg TITLE
#
# The table's columns before `top1` are labels; the others are found by their names.

plot() {
    local kind=$1 table=$2 picture=$3 title=$4
    {
        echo "set terminal svg size 800,480 font 'sans,13' background rgb 'white'"
        echo "set output '${picture//\'/\'\'}.tmp'"
        echo "set title '${title//\'/\'\'}'"
        echo "set datafile separator tab; set datafile missing ''"
        echo "set grid ytics; set key outside top right"
        echo "set ylabel 'top-1 in %'; set border 3; set tics nomirror"
        "plot_$kind" "$table"
    } | gnuplot || return
    mv -- "$picture.tmp" "$picture"
}

column() { # TABLE NAME: prints the number of the column
    head -n 1 <"$1" | tr '\t' '\n' | grep -nx -- "$2" | cut -d : -f 1
}
# Prints the rows of the table: the labels joined into one column, then the named columns.
rows() { # TABLE NAME...
    local table=$1 name list='' labels
    labels=$(($(column "$1" top1) - 1))
    shift
    for name; do
        list+="${list:+ }$(column "$table" "$name")"
    done
    tail -n +2 <"$table" | awk -F '\t' -v OFS='\t' -v labels="$labels" -v list="$list" '{
        name = $1
        for (i = 2; i <= labels; i++) name = name " " $i
        printf "%s", name
        n = split(list, at, " ")
        for (i = 1; i <= n; i++) printf "\t%s", $at[i] == "" ? "NaN" : $at[i]
        print ""
    }'
}
data() { # NAME: prints stdin as a data block of gnuplot
    echo "\$$1 << END"
    cat
    echo END
}

# Draws a point with its interval for each row.
plot_points() {
    rows "$1" top1 low high | data rows
    echo "set xtics rotate by -20; unset key; set xrange [-0.5:*]; set offsets 0, 0.5, graph 0.05, graph 0.05"
    echo "plot \$rows using 0:2:3:4:xtic(1) with yerrorbars linewidth 2 pointtype 7 linecolor rgb '#4477aa'"
}

plot_head() {
    rows "$1" top1 low high z_top1 z_low z_high | data rows
    cat <<'END'
set xtics rotate by -20; set xrange [-0.5:*]; set offsets 0, 0.5, graph 0.05, graph 0.05
plot $rows using ($0-0.06):2:3:4:xtic(1) with yerrorbars title 'h' linewidth 2 pointtype 7 linecolor rgb '#4477aa', \
     $rows using ($0+0.06):5:6:7 with yerrorbars title 'z' linewidth 2 pointtype 9 linecolor rgb '#ee6677'
END
}

# Draws a line for each first label, over the second label.
plot_lines() {
    local line at i lines=()
    at=$(column "$1" low)
    while read -r line; do
        tail -n +2 <"$1" | awk -F '\t' -v OFS='\t' -v line="$line" -v at="$at" \
            '$1 == line { print $2, $(at - 1), $at, $(at + 1) }' | data "line${#lines[@]}"
        lines+=("$line")
    done < <(tail -n +2 <"$1" | cut -f 1 | awk '!seen[$0]++')
    echo "set logscale x; set xlabel '$(head -n 1 <"$1" | cut -f 2)'; set offsets graph 0.05, graph 0.05, 1, 1"
    echo "set xtics ($(tail -n +2 <"$1" | cut -f 2 | sort -gu | sed "s/.*/'&' &/" | paste -sd ,))"
    echo "set key title '$(head -n 1 <"$1" | cut -f 1)'"
    printf 'plot '
    for i in "${!lines[@]}"; do
        printf "%s\$line%d using 1:2:3:4 with errorlines linewidth 2 pointtype 7 title '%s'" \
            "$([ "$i" = 0 ] || echo ', ')" "$i" "${lines[i]//\'/\'\'}"
    done
    echo
}

# Draws a matrix of the first label by the second, which is symmetric.
plot_heat() {
    local at
    at=$(column "$1" top1)
    tail -n +2 <"$1" | awk -F '\t' -v OFS='\t' -v at="$at" '
        { for (i = 1; i <= 2; i++) if (!($i in place)) place[$i] = n++ }
        { print place[$1], place[$2], $at
          if ($1 != $2) print place[$2], place[$1], $at }' | data cells
    local names i=0 ticks=
    while read -r names; do
        ticks+="${ticks:+, }'$names' $((i++))"
    done < <(tail -n +2 <"$1" | awk -F '\t' '{ if (!seen[$1]++) print $1; if (!seen[$2]++) print $2 }')
    cat <<END
set xtics ($ticks); set ytics ($ticks); unset grid; unset key; set ylabel ''
set size ratio -1; set xrange [-0.5:$i-0.5]; set yrange [$i-0.5:-0.5]; unset border
set palette defined (0 '#f7fbff', 1 '#6baed6'); set cblabel 'top-1 in %'
plot \$cells using 1:2:(0.49):(0.49):3 with boxxyerror fillstyle solid noborder linecolor palette, \$cells using 1:2:(sprintf('%.1f', \$3)) with labels textcolor rgb 'black'
END
}
