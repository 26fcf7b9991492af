module github.com/gotvm/gotvm/scripts/bench

go 1.24

require (
	github.com/gotvm/gotvm v0.0.0
	github.com/yalue/onnxruntime_go v1.27.0
)

replace github.com/gotvm/gotvm => ../..
