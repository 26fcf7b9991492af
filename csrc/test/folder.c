#include "test/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

static int remove_item(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status, (void)type;
    return ftw->level ? remove(path) : 0;
}

void folder_clear(const char *path) {
    nftw(path, remove_item, 8, FTW_DEPTH | FTW_PHYS);
}

int folder_remove(const char *path) {
    folder_clear(path);
    return rmdir(path);
}
