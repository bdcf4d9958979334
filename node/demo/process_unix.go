//go:build unix

package demo

import "syscall"

// processAttributes keep a terminal's Ctrl-C from the gateways, which the demo stops itself, in order.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
