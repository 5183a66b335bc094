/*
 * The latest value: this program publishes prices into a cell, and python/examples/latest_price.py reads whatever is the
 * latest one, always whole, at its own pace. Either may start first, and either may be killed.
 *
 * Build and run, in the top folder of mapshare; start the other program in a second terminal, with the same FILE:
 *     make
 *     cc c_examples/latest_price.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o latest_price
 *     ./latest_price FILE
 *     python3 python/examples/latest_price.py FILE
 */
#include <errno.h>
#include <mapshare.h>
#include <stdio.h>

/* What is published; the other program spells out the same. */
struct price {
    uint64_t number;
    double price;
};

enum { CELL = 64, PRICES = 100000 };

static int failed(void)
{
    fprintf(stderr, "C: %s\n", mapshare_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    mapshare_options options = {0};
    mapshare_region *region;
    struct price price;
    int rc;
    options.flags = MAPSHARE_CREATE;
    options.access = MAPSHARE_READ_WRITE;
    options.length = CELL + (uint64_t)mapshare_cell_footprint(sizeof price);
    if (mapshare_open(argc > 1 ? argv[1] : "prices.bin", &options, sizeof options, &region) < 0)
        return failed();
    rc = mapshare_cell_init(region, CELL, sizeof price);
    if (rc < 0 && rc != -EEXIST) /* the other program, or an earlier run, has made it */
        return failed();
    for (price.number = 1; price.number <= PRICES; price.number++) {
        price.price = 100 + 0.01 * (double)(price.number % 1000);
        if (mapshare_cell_publish(region, CELL, &price, sizeof price) < 0)
            return failed();
    }
    printf("C: has published %d prices\n", PRICES);
    return mapshare_unmap(region) < 0 ? failed() : 0;
}
