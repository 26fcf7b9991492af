package main

import _ "embed"

//go:embed model/digits_amd64.so
var library []byte
