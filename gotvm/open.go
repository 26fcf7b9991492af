package gotvm

import (
	"os"
	"path/filepath"
)

// Open opens a model, whatever it is packaged in. The path is that of
//
//   - a factory library: one .so file that holds graph and weights too (lib.export_library of TVM 0.7 to 0.19),
//     for the graph executor or the AOT executor,
//   - a Relax executable: one .so file, as TVM 0.22 and newer make it,
//   - a package that tvmc made: a .tar file with mod.so, mod.json and mod.params, which is read in place, but for mod.so:
//     the dynamic linker loads no part of a file, so it gets a copy in memory, or
//   - a folder with one .so file, one .json file and at most one .params file, or with a .so file of the kinds above
//     alone.
//
// What is in a file decides, not its name. The weights are read from the file when a session is made: put a new
// file in its place by renaming, not by writing over it.
//
// Opening a library runs code that is in it: open only what you trust.
func Open(path string) (*Model, error) {
	m, err := open(path)
	return m, doing("Open", "", err)
}

func open(path string) (*Model, error) {
	if path == "" {
		return nil, newError(kindValue, "the path is empty")
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err)
	}
	if !info.IsDir() {
		return openPackage(path, nil)
	}
	files, err := findFiles(path)
	if err != nil {
		return nil, err
	}
	if files.Graph == "" && files.Params == "" {
		return openPackage(files.Lib, nil)
	}
	return openFiles(files)
}

// findFiles finds a model's files in a folder; Graph and Params may be missing.
func findFiles(folder string) (Files, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return Files{}, fileError(err)
	}
	var files Files
	for _, kind := range []struct {
		ending string
		path   *string
	}{{".so", &files.Lib}, {".json", &files.Graph}, {".params", &files.Params}} {
		for _, entry := range entries {
			if entry.IsDir() || filepath.Ext(entry.Name()) != kind.ending {
				continue
			}
			if *kind.path != "" {
				return Files{}, newError(kindValue, "%s: there are several %s files: name the ones to use with OpenFiles", folder, kind.ending)
			}
			*kind.path = filepath.Join(folder, entry.Name())
		}
	}
	if files.Lib == "" {
		return Files{}, newError(kindNotFound, "%s: there is no .so file", folder)
	}
	if files.Graph == "" && files.Params != "" {
		return Files{}, newError(kindNotFound, "%s: there is no .json file", folder)
	}
	return files, nil
}

// openPackage opens the model in one file or, with data, in bytes that path names in messages. What kinds of
// model there are in one file, and how they are told apart, is decided here and in csrc/graph/package.c.
func openPackage(path string, data []byte) (*Model, error) {
	p, err := readPackage(path, data)
	if err != nil {
		return nil, err
	}
	m, err := newPackageModel(p, path, "open it with its graph and parameters (OpenFiles, OpenBytes), or call its functions (LoadModuleFromFile)")
	if err == nil && p.inBytes {
		m.blob.Store(&data)
	}
	return m, err
}

// newPackageModel makes a model of what a package holds, whose references it takes. The advice is for a library
// that is none.
func newPackageModel(p modelPackage, name, advice string) (*Model, error) {
	m := &Model{lib: newModule(p.module, name)}
	if executable := executableOf(p.module); executable != nil {
		m.describeExecutable(executable)
		return m, nil
	}
	if p.plan == nil {
		_ = m.Close()
		return nil, newError(kindUnsupported, "%s: a library without a graph: %s", name, advice)
	}
	m.plan, m.code = newPart(p.plan), newPart(p.library)
	if p.weights != nil {
		m.weights = newPart(p.weights)
	}
	m.describe()
	return m, nil
}
