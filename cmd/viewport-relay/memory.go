package main

import (
	"bufio"
	"bytes"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// tuneMemory sets the Go runtime's memory limit and garbage collection where the operator did not.
//
// A relay's heap is small and its garbage short-lived: at GOGC=400 a small frame costs about 40 % less CPU than at Go's
// 100, because the collector runs a quarter as often. The price is that the heap may grow to five times what lives in
// it, which would end in an out-of-memory kill in a small container; the limit makes the collector work harder before
// that. So 400 is only set with a limit. GOMEMLIMIT and GOGC, when set, are obeyed.
func tuneMemory(root fs.FS, log *slog.Logger) {
	limit := debug.SetMemoryLimit(-1)
	from := "GOMEMLIMIT"
	if os.Getenv("GOMEMLIMIT") == "" {
		var available int64
		if available, from = memoryAvailable(root); available > 0 {
			limit = available / 10 * 9 // the rest: stacks of the kernel, page tables, what the limit overshoots
			debug.SetMemoryLimit(limit)
		}
	}
	if os.Getenv("GOGC") == "" && limit != math.MaxInt64 {
		debug.SetGCPercent(400)
	}
	log.Debug("memory", "limit_bytes", limit, "limit_from", from)
}

// memoryAvailable returns how many bytes this process can have: the least of its cgroups' limits and the machine's
// memory, and which of them it is. 0: unknown, as on systems without /proc.
func memoryAvailable(root fs.FS) (available int64, from string) {
	least := func(n int64, what string) {
		if n > 0 && (available == 0 || n < available) {
			available, from = n, what
		}
	}
	least(machineMemory(root), "the machine")
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path, see cgroups(7); version 2 is hierarchy 0 without controllers.
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		switch {
		case part[0] == "0" && part[1] == "":
			least(cgroupLimit(root, "sys/fs/cgroup", part[2], "memory.max"), "the cgroup")
		case part[1] == "memory":
			least(cgroupLimit(root, "sys/fs/cgroup/memory", part[2], "memory.limit_in_bytes"), "the cgroup")
		}
	}
	return available, from
}

// cgroupLimit returns the least limit of a group and those it is in; 0: none. In a container the path may be the
// host's, of which only the top is mounted: what does not exist is passed over.
func cgroupLimit(root fs.FS, mount, group, file string) int64 {
	var least int64
	for dir := path.Join("/", group); ; dir = path.Dir(dir) {
		content, err := fs.ReadFile(root, path.Join(mount, dir, file))
		if err == nil {
			n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
			if err == nil && (least == 0 || n < least) { // "max" is no number, and means none
				least = n
			}
		}
		if dir == "/" {
			return least
		}
	}
}

// machineMemory returns MemTotal of /proc/meminfo; 0: unknown.
func machineMemory(root fs.FS) int64 {
	content, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for scan := bufio.NewScanner(bytes.NewReader(content)); scan.Scan(); {
		if rest, ok := strings.CutPrefix(scan.Text(), "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
