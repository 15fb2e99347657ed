package dynamodb

import (
	"cmp"
	"hash/fnv"
	"math/bits"
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// bucketBits fixes the number of buckets, so that 100,000 partitions leave some 25 in each.
const bucketBits = 12

// rows holds a table's items in the order of a scan: by hash of the partition key, then by partition key, then by sort key.
// The first bits of the hash choose a bucket, which keeps insertions cheap and lets a page start anywhere without a walk.
type rows struct {
	buckets [1 << bucketBits][]*partition
	count   int
}

// partition holds the items of one partition key, by sort key. Its entries are never empty while it stands in a bucket.
type partition struct {
	hash    uint64
	key     attr.Value
	entries []*entry
}

// entry is one stored item; it is replaced, never changed.
type entry struct {
	sort attr.Value // the zero value in a table without sort key
	item attr.Item
	size int
}

// position is a place in the order of a scan: just after the item with these keys, or before all of its hash when key is the
// zero value, since no key is empty.
type position struct {
	hash      uint64
	key, sort attr.Value
}

func hashOf(key attr.Value) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key.Text))
	return mix(h.Sum64())
}

// mix spreads the entropy of FNV's low bits over all bits (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// segmentOf says to which of total scan segments a hash belongs; segments are ranges of the hash.
func segmentOf(hash uint64, total int) int {
	high, _ := bits.Mul64(hash, uint64(total))
	return int(high)
}

// segmentStart is the position before the first hash of a segment.
func segmentStart(segment, total int) position {
	start, remainder := bits.Div64(uint64(segment), 0, uint64(total))
	if remainder > 0 {
		start++
	}
	return position{hash: start}
}

func (p *partition) compare(hash uint64, key attr.Value) int {
	return cmp.Or(cmp.Compare(p.hash, hash), strings.Compare(p.key.Text, key.Text))
}

// locate finds the place of a partition in its bucket.
func (r *rows) locate(hash uint64, key attr.Value) (bucket, index int, found bool) {
	bucket = int(hash >> (64 - bucketBits))
	b := r.buckets[bucket]
	index, found = slices.BinarySearchFunc(b, key, func(p *partition, key attr.Value) int { return p.compare(hash, key) })
	return bucket, index, found
}

// partition returns the partition of a key, or nil.
func (r *rows) partition(key attr.Value) *partition {
	b, i, found := r.locate(hashOf(key), key)
	if !found {
		return nil
	}
	return r.buckets[b][i]
}

func (p *partition) search(sort attr.Value) (int, bool) {
	return slices.BinarySearchFunc(p.entries, sort, func(e *entry, sort attr.Value) int { return attr.Compare(e.sort, sort) })
}

func (r *rows) get(k key) *entry {
	p := r.partition(k.partition)
	if p == nil {
		return nil
	}
	i, found := p.search(k.sort)
	if !found {
		return nil
	}
	return p.entries[i]
}

func (r *rows) put(k key, e *entry) {
	hash := hashOf(k.partition)
	b, i, found := r.locate(hash, k.partition)
	if !found {
		r.buckets[b] = slices.Insert(r.buckets[b], i, &partition{hash: hash, key: k.partition})
	}
	p := r.buckets[b][i]
	j, found := p.search(k.sort)
	if found {
		p.entries[j] = e
		return
	}
	p.entries = slices.Insert(p.entries, j, e)
	r.count++
}

func (r *rows) remove(k key) {
	b, i, found := r.locate(hashOf(k.partition), k.partition)
	if !found {
		return
	}
	p := r.buckets[b][i]
	j, found := p.search(k.sort)
	if !found {
		return
	}
	p.entries = slices.Delete(p.entries, j, j+1)
	r.count--
	if len(p.entries) == 0 {
		r.buckets[b] = slices.Delete(r.buckets[b], i, i+1)
	}
}

// scan visits the items after from in order, until visit answers false.
func (r *rows) scan(from position, visit func(*partition, *entry) bool) {
	first, index, found := r.locate(from.hash, from.key)
	skip := 0
	if found {
		skip = r.buckets[first][index].after(from.sort)
	}
	for b := first; b < len(r.buckets); b++ {
		for _, p := range r.buckets[b][index:] {
			for _, e := range p.entries[skip:] {
				if !visit(p, e) {
					return
				}
			}
			skip = 0
		}
		index = 0
	}
}

// after returns the index of the first entry whose sort key is greater than sort.
func (p *partition) after(sort attr.Value) int {
	i, found := p.search(sort)
	if found {
		i++
	}
	return i
}
