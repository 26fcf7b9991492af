package gotvm

import (
	"reflect"
	"unsafe"
)

// Module is a set of functions by name: a compiled library, or what a function of the runtime made,
// such as a graph executor. It may be used by any goroutines at once, as far as its functions may.
type Module struct {
	object
	name string // for messages
}

func newModule(ptr unsafe.Pointer, name string) *Module {
	m := &Module{name: name}
	initObject(m, &m.object, ptr, &live.modules)
	return m
}

// LoadModuleFromFile opens a compiled library. The optional argument is its format: "so", "dll",
// "dylib" or "dso", which all mean the same. A path without a slash is looked for in the working
// directory, then in the dynamic linker's path.
//
// Opening a library runs code in it: open only what you trust. Replace a library that is in use by renaming
// another over it: writing to a file that is mapped changes the code that runs.
func LoadModuleFromFile(path string, args ...any) (*Module, error) {
	m, err := loadModule(path, args)
	return m, doing("load", "", err)
}

// loadModule opens a library; args may hold its format. Errors name the file.
func loadModule(path string, args []any) (*Module, error) {
	if path == "" {
		return nil, newError(kindValue, "the path is empty")
	}
	format := "so"
	if len(args) > 0 {
		f, ok := args[0].(string)
		if !ok {
			return nil, newError(kindType, "%s: the format: expected a string, got %T", path, args[0])
		}
		format = f
	}
	ptr, err := libraryLoad(path, format)
	if err != nil {
		return nil, err
	}
	return newModule(ptr, path), nil
}

// loadModuleFromBytes opens a compiled library that is in memory; name is what messages call it.
func loadModuleFromBytes(name string, data []byte) (*Module, error) {
	ptr, err := libraryOpenBytes(name, data)
	if err != nil {
		return nil, err
	}
	return newModule(ptr, name), nil
}

// GetFunction gives the function called name; one that is not there is an error, [ErrNotFound]. The
// optional argument, a bool or an integer, says whether to look in imported modules too, as it does
// unless told otherwise. The function keeps its module alive.
func (m *Module) GetFunction(name string, args ...any) (*Function, error) {
	f, err := m.getFunction(name, args)
	return f, naming("get function", name, err)
}

func (m *Module) getFunction(name string, args []any) (*Function, error) {
	if m == nil {
		return nil, nilError("module")
	}
	queryImports := true
	if len(args) > 0 {
		// The published package documented one argument and read the second of two.
		last := args[len(args)-1]
		q, err := truth(last)
		if err != nil {
			return nil, err
		}
		queryImports = q
	}
	if !m.acquire() {
		return nil, closedError("module")
	}
	defer m.leave()
	ptr, err := moduleGetFunction(m.ptr, name, queryImports)
	if err != nil {
		return nil, err
	}
	if ptr == nil {
		where := m.name
		if where == "" {
			where = "the module"
		}
		return nil, newError(kindNotFound, "%s has no such function", where)
	}
	return newFunction(ptr, name), nil
}

// truth reads an argument that is a bool or an integer.
func truth(arg any) (bool, error) {
	v := reflect.ValueOf(arg)
	switch {
	case v.Kind() == reflect.Bool:
		return v.Bool(), nil
	case v.CanInt():
		return v.Int() != 0, nil
	case v.CanUint():
		return v.Uint() != 0, nil
	default:
		return false, newError(kindType, "argument 1, whether to look in imported modules: expected a bool or an integer, got %T", arg)
	}
}

// Close gives the module back, once no call uses it. Functions of it stay usable. Closing again does
// nothing. What the collector finds unreachable is closed too, but later.
func (m *Module) Close() error {
	if m == nil {
		return doing("Close", "", nilError("module"))
	}
	m.close()
	return nil
}

// String names the module.
func (m *Module) String() string {
	switch {
	case m == nil:
		return "<nil module>"
	case m.name == "":
		return "module"
	default:
		return "module " + m.name
	}
}
