#include "transform/driver.h"

int
main(int argc, char **argv)
{
    return gw_worker_main(argc, argv, &gw_transform_stage);
}
