package gotvm

// OpenLinked opens a model that is linked into the program: its functions, graph and weights are part of the
// executable, and nothing is read from disk. It is a factory (relay.build of TVM 0.8 to 0.19) or a Relax executable
// (TVM 0.22 and newer), compiled as a system library. The script scripts/link-model makes one of an ONNX model, in
// the form of a .syso file, which go build links into the package whose folder it lies in; see sample/onefile.
//
// The prefix tells apart the models of one program: scripts/link-model --prefix, or what TVM calls
// system_lib_prefix. Opening one again is cheap: all share its functions and weights.
func OpenLinked(prefix string) (*Model, error) {
	m, err := openLinked(prefix)
	return m, doing("OpenLinked", "", err)
}

func openLinked(prefix string) (*Model, error) {
	p, err := linkedPackage(prefix)
	if err != nil {
		return nil, err
	}
	return newPackageModel(p, "linked model "+quote(prefix), "link the factory that relay.build gave, or call its functions (runtime.SystemLib)")
}
