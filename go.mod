module github.com/gotvm/gotvm

go 1.24
