package main

import _ "embed"

//go:embed model/digits_arm64.so
var library []byte
