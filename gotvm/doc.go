// Package gotvm runs models that Apache TVM has compiled. The runtime is compiled into the program by go
// build: neither TVM nor Python is needed on the machine.
//
// There are two ways in. [Open] gives a [Model], and its sessions run it: this is what most programs
// want. Below that lies TVM's own interface, which programs written for TVM's former Go binding use:
// [LoadModuleFromFile] gives a [Module], whose functions are called with [Function.Invoke]. Both work on
// the same arrays, and [Model.Module] leads from one to the other.
//
// # Trust
//
// Opening a library (a .so file) runs code that is in it, before any function of it is called. Open only
// what you trust, as you would only start such a program. Graphs and parameters are data, and damaged ones are
// refused; but a graph tells the library's functions how large their arguments are, and only as much as those
// functions check is safe: libraries compiled without assertions, as old compilers made some, trust the graph.
//
// # Ownership
//
// Modules, functions, arrays, models and sessions hold memory that Go's collector does not see, so they
// have a Close. Closing is safe at any time: calls that are inside finish first, later ones fail with
// [ErrClosed], and closing again does nothing. What depends on something closed goes on to work: a
// function keeps its module, a session its model, an output its memory. A handle that the program drops
// without Close is given back when the collector finds out, which is safe, but late.
//
// Arrays made by [Empty] and [NewArray] on a CPU lie in Go's own heap. [DataOf] shows their elements
// without a copy, and such a view is ordinary Go memory. Views of memory that belongs to the runtime
// hold as long as their array does.
//
// A [Value] owns the array, function or module in it until one of its methods hands that over. Arguments
// may be closed as soon as the call is over; a function that keeps one, as set_input_zero_copy does, holds a
// reference of its own, and shares the elements with the program.
//
// # Goroutines
//
// Everything may be used from any goroutine. Functions run on the goroutine that calls them, and those of
// compiled code spread parallel loops over one pool of threads for the whole process; its size is
// TVM_NUM_THREADS, else OMP_NUM_THREADS, else the number of physical cores. A [Session], like a graph module
// of TVM, serves one call at a time: make one for each goroutine, they share the model's weights.
//
// Go closures become functions by [ConvertFunction] and [RegisterFunction], or by being passed as
// arguments. The runtime may call them from any thread.
//
// # Errors
//
// Errors are of type [*Error], with a code, for which errors.Is knows sentinels such as [ErrNotFound], and
// a message that says what was being done to what. Where a Go callback fails, its error is found by
// errors.Is and errors.As at the very caller, also with compiled code in between. A panic in a callback
// becomes a [*PanicError].
package gotvm
