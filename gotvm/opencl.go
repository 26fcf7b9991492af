package gotvm

import "errors"

// OpenCLConfig says which OpenCL devices there are, and where compiled kernels are kept. What is left out is up to the
// environment, and else as described. See [ConfigureOpenCL].
type OpenCLConfig struct {
	// Type of device: "gpu", "cpu", "accelerator" or "all". Else GOTVM_OPENCL_TYPE; else GPUs, or where there is none
	// CPUs.
	Type string
	// Platform is a part of the name of the only platforms whose devices count, in any case of letters. Else
	// GOTVM_OPENCL_PLATFORM; else all count.
	Platform string

	// CacheDir is the folder of compiled kernels. Else GOTVM_OPENCL_CACHE, a folder or "off"; else gotvm/opencl in
	// XDG_CACHE_HOME or ~/.cache. What is in it is code: nobody else should be able to write there.
	CacheDir string
	// CacheBytes is how much all files there may take; what has not been used for longest goes first. Else
	// GOTVM_OPENCL_CACHE_MIB, in MiB; else 256 MiB.
	CacheBytes int64
	// NoCache keeps nothing: each process compiles its kernels.
	NoCache bool
}

// ConfigureOpenCL sets how OpenCL is used in this process. It comes before the first use, which is the first time that
// anything asks for an OpenCL device, [Devices] too; afterwards it is an error, [ErrBusy].
//
// Drivers compile a model's kernels when it first runs, which takes up to seconds. What they made is saved once the first
// run is over, in the background, and later processes with the same device and driver begin with it. A model that is
// given back earlier, when the last of it, its sessions and its functions is closed, waits until that is done, which can
// take seconds; so programs that run a model once and close it profit, too. Files are checked before a driver sees them,
// and what is damaged or cannot be read or written counts as not there.
func ConfigureOpenCL(config OpenCLConfig) error {
	return doing("ConfigureOpenCL", "", config.apply())
}

func (c OpenCLConfig) apply() error {
	if c.CacheBytes < 0 {
		return newError(kindValue, "CacheBytes: expected 0 or more, got %d", c.CacheBytes)
	}
	configure, err := GetGlobalFunction("opencl.Configure")
	if errors.Is(err, ErrNotFound) {
		return newError(kindUnsupported, "this program was built without OpenCL (tag noopencl)")
	}
	if err != nil {
		return err
	}
	defer configure.Close()
	size := c.CacheBytes
	if c.NoCache {
		size = -1
	}
	_, err = configure.Invoke(c.Type, c.Platform, c.CacheDir, size)
	return err
}
