package pushmail

import (
	"crypto/sha256"
	"sync"
	"time"
)

// paceWindow is the time in which mails are counted.
const paceWindow = time.Hour

// maxPaced is how many keys are remembered. Beyond it, those whose time is over are
// forgotten, and if that does not help all of them.
const maxPaced = 100_000

// pace counts the mails of each key.
type pace struct {
	mutex sync.Mutex
	most  int
	keys  map[[sha256.Size]byte]paced
}

type paced struct {
	from  time.Time
	mails int
}

func newPace(most int) *pace { return &pace{most: most, keys: map[[sha256.Size]byte]paced{}} }

// take counts a mail, and reports whether there may be one.
func (p *pace) take(key string, now time.Time) bool {
	digest := sha256.Sum256([]byte(key))
	p.mutex.Lock()
	defer p.mutex.Unlock()
	count, known := p.keys[digest]
	if !known || now.Before(count.from) || now.Sub(count.from) >= paceWindow {
		count = paced{from: now}
	}
	if count.mails >= p.most {
		return false
	}
	if !known && len(p.keys) >= maxPaced {
		for other, old := range p.keys {
			if now.Sub(old.from) >= paceWindow {
				delete(p.keys, other)
			}
		}
		if len(p.keys) >= maxPaced {
			clear(p.keys)
		}
	}
	count.mails++
	p.keys[digest] = count
	return true
}
