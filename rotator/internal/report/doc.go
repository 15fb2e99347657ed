// Package report says where a rotation and its fleet stand: for programs as JSON, for people as text and as one HTML page.
//
// New judges what was read, once, and is pure; everything else only shows what New has found. The package reads
// nothing by itself and knows no private key. Parts of what it shows are written by workers: text for a terminal
// has no control characters left, and the page escapes everything by its place.
package report
