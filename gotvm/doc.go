// Package gotvm runs models that Apache TVM has compiled. The runtime is compiled into the program by go
// build: neither TVM nor Python is needed on the machine.
//
// # Two tiers
//
// Most programs want a [Model] and its sessions: names and types are checked, and a run can be cancelled.
//
//	model, err := gotvm.Open("model.tar") // a package, a library that holds its model, or a folder with three files
//	session, err := model.NewSession()
//	x, err := gotvm.NewArray(model.Inputs()[0].Shape, pixels)
//	outputs, err := session.Run(ctx, gotvm.Inputs{"data": x})
//	scores, err := gotvm.DataOf[float32](outputs[0])
//
// [OpenFiles] and [OpenBytes] take the parts one by one, and [OpenLinked] opens a model that is linked into the
// program. [Session.BindInput] and [Session.BindOutput] save the copies, [Session.Call] calls any function of a
// Relax executable. [Session.Profile] and [Session.ProfileCall] tell where the time goes: of each operator the host's
// and, on OpenCL, the device's.
//
// Below lies TVM's own interface, where everything is a [Function] that takes and returns a [Value]. It is for
// functions of a library that are no model, for what only the runtime's own functions do, and for programs
// that were written for TVM's former Go binding: all its names are here, and mean the same.
//
//	library, err := gotvm.LoadModuleFromFile("deploy.so")
//	add, err := library.GetFunction("add")
//	_, err = add.Invoke(x, y, sum)
//
// Both work on the same arrays, [Model.Module] leads from the first to the second, and Go functions that are
// registered are called by both.
//
// # Go functions
//
// [Register] makes a global function of an ordinary Go function, which compiled code calls by its name:
//
//	err := gotvm.Register("add", func(a, b int64) int64 { return a + b })
//
// A [Callback] takes values as they come; [RegisterFunction] registers one, [ConvertFunction] makes a function
// without a name of it, and as an argument of a call it becomes one by itself.
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
// # Goroutines and threads
//
// Everything may be used from any goroutine, and most of it by several at once. A [Session], like a graph module of
// TVM, serves one call at a time: make one for each goroutine, they share the model's weights.
//
// Functions run on the goroutine that calls them, and those of compiled code spread parallel loops over
// one pool of threads for the whole process; its size is TVM_NUM_THREADS, else OMP_NUM_THREADS, else the
// number of physical cores, and [WithThreads] makes a session use less of it. The runtime may call a Go function from
// any thread, and from several at once.
//
// A context ends a [Session.Run] at the next operator. One that cannot end, such as context.Background(), costs nothing.
//
// # Errors
//
// Errors are of type [*Error]. Its code has a sentinel, such as [ErrNotFound], that errors.Is finds, and its text says
// what was being done, to what, what was expected and what there was:
//
//	gotvm: Run: input "data": expected shape [1, 3, 224, 224], got [1, 224, 224, 3]
//
// Where a Go function fails, errors.Is and errors.As find its error at the very caller, also with compiled code
// in between; a panic becomes a [*PanicError]. A cancelled run fails with [ErrCancelled] and the context's cause. No
// mistake of the program ends it, and no damaged file does.
package gotvm

import _ "github.com/gotvm/gotvm/csrc" // the runtime itself; imported in a file without cgo, so that its absence is told there
