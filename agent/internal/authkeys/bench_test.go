package authkeys

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// bigFile makes a file of foreign lines, every other one an RSA-3072 key and the rest Ed25519, and returns the base64 words in it.
func bigFile(lines int) (text []byte, words [][]byte) {
	rng := rand.NewChaCha8([32]byte{})
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rng.Read(b)
		return b
	}
	for i := range lines {
		name, blob := "ssh-ed25519", blobOf([]byte("ssh-ed25519"), random(32))
		if i%2 == 0 {
			modulus := append([]byte{0}, random(384)...)
			modulus[1] |= 0x80
			name, blob = "ssh-rsa", blobOf([]byte("ssh-rsa"), []byte{1, 0, 1}, modulus)
		}
		word := b64(blob)
		text = append(text, name+" "+word+" user@host.example.com\n"...)
		words = append(words, []byte(word))
	}
	return text, words
}

// BenchmarkMerge10000 compares a merge into 10,000 lines with what nobody can do without: decoding and hashing each key once. The two
// alternate, and x-floor is the ratio of their medians.
func BenchmarkMerge10000(b *testing.B) {
	text, words := bigFile(10_000)
	plan := planOf(key(b, 1), key(b, 2))
	plan.Retired = []string{key(b, 3).fp(), key(b, 4).fp()}
	old, err := Merge(append(bytes.Clone(text), block(key(b, 3).line()+" v")...), planOf(key(b, 3)))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1024)
	var ours, floor []time.Duration
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		res, err := Merge(old.Bytes, plan)
		ours = append(ours, time.Since(start))
		if err != nil || !res.Changed || len(res.Added) != 2 {
			b.Fatalf("%+v, %v", res, err)
		}
		b.StopTimer()
		start = time.Now()
		for _, word := range words {
			n, err := base64.StdEncoding.Decode(buf, word)
			if err != nil {
				b.Fatal(err)
			}
			sink = sha256.Sum256(buf[:n])
		}
		floor = append(floor, time.Since(start))
		b.StartTimer()
	}
	b.ReportMetric(float64(median(ours))/float64(median(floor)), "x-floor")
	b.ReportMetric(float64(median(floor).Nanoseconds()), "floor-ns/op")
}

// sink keeps the floor's loop from being optimised away.
var sink [sha256.Size]byte

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
