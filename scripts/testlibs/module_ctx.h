/* TVM's target `c` uses this variable for packed calls without declaring it. */
void *__tvm_module_ctx;
