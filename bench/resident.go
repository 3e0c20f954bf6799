package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// unknownGrowth is the growth of memory on systems that do not tell.
const unknownGrowth = -1 << 62

// watchMemory returns memory that is not in use back to the system, and gives what
// tells how far the resident memory of this process has grown since, at most.
func watchMemory() (growth func() (int64, error), err error) {
	if runtime.GOOS != "linux" {
		return func() (int64, error) { return unknownGrowth, nil }, nil
	}
	debug.FreeOSMemory()
	// From here on, the peak is counted anew: see proc_pid_clear_refs(5).
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return nil, err
	}
	before, err := residentMemory("VmRSS")
	return func() (int64, error) {
		peak, err := residentMemory("VmHWM")
		return peak - before, err
	}, err
}

// residentMemory reads a count of bytes from what Linux says of this process.
func residentMemory(of string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if name, value, found := strings.Cut(line, ":"); found && name == of {
			number, kilo := strings.CutSuffix(strings.TrimSpace(value), " kB")
			count, err := strconv.ParseInt(number, 10, 64)
			if err != nil || !kilo {
				return 0, errors.Join(fmt.Errorf("%s is %q", of, value), err)
			}
			return count << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s in the status of this process", of)
}
