/* The host CPU as a device. Any id counts: TVM programs use CPU(1) and so on as plain labels. */
#ifndef TVM_DEVICE_CPU_H
#define TVM_DEVICE_CPU_H

#include "base/device.h"

extern const struct tvm_device_api tvm_cpu_device;

#endif
