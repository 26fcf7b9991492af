// Package include holds the runtime's public C headers; this file keeps them in vendored copies.
package include
