/* Folders of files that tests make. */
#ifndef TVM_TEST_FOLDER_H
#define TVM_TEST_FOLDER_H

/* Removes all that is in the folder at path, as far as that can be done. */
void folder_clear(const char *path);

/* The folder, too; -1 where something is left of it. */
int folder_remove(const char *path);

#endif
