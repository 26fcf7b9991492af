/* What the runtime asks of the operating system beyond POSIX; one file implements it for each
 * system. */
#ifndef TVM_BASE_OS_H
#define TVM_BASE_OS_H

#ifndef __linux__
#error "gotvm runs on Linux (amd64, arm64); there is no os_*.c for this system yet"
#endif

#endif
