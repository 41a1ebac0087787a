//go:build unix

package proxies_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		var extra []string
		if z := os.Getenv("ZZ"); z != "" {
			extra = strings.Split(z, "|")
		}
		p := terminator(t, k, startRelay(t, "127.0.0.1:0").addr, extra...)
		c := connect(t, p, k.name+"-killed")
		talk := c.talk(c.dialer, "talk", manner{pace: 10*time.Millisecond, most: 1000})
		b := time.Now()
		talk.more(100)
		p.reloads()
		println("reloaded", time.Since(b).String())
		u, d := 0, 0
		for range 4 {
			time.Sleep(time.Second)
			u1, d1 := talk.up.count(), talk.down.count()
			println(time.Since(b).String(), u1-u, d1-d)
			u, d = u1, d1
			if os.Getenv("ZDUMP") != "" && time.Since(b) > 8*time.Second {
				pid := strconv.Itoa(p.main.Process.Pid)
				o, _ := exec.Command("sh", "-c", "timeout 2 strace -f -s 60 -e trace=read,write -o /tmp/zz.strace -p "+pid+"; ss -tnp | grep -E 'pid="+pid+"'; for f in /proc/"+pid+"/fd/*; do echo $f $(readlink $f) $(grep flags /proc/"+pid+"/fdinfo/${f##*/}); done; cat /proc/"+pid+"/net/tcp | head -3; ps -L -o tid,stat,wchan:30,pcpu -p "+pid).CombinedOutput()
				os.WriteFile("/tmp/zz.dump", o, 0o600)
				t.Fatal("dumped")
			}
		}
		if true { t.Fatal("enough") }
		if os.Getenv("ZLOG") != "" {
			os.WriteFile("/tmp/zz.log", []byte(p.output.String()), 0o600)
		}
	})
}
