package report

import "time"

// data is what the page's script filters and sorts: a row of cells for each worker, in the order of columns.
type data struct {
	Columns []string          `json:"columns"`
	State   int               `json:"state"` // the column of the state
	Moods   map[string]string `json:"moods"` // class of a cell, by "Column text"
	Workers [][]any           `json:"workers"`
}

// cell is one of the rows that the page shows before its script runs.
type cell struct{ Label, Text, Class string }

const (
	stateColumn    = 4
	reportedColumn = 8
)

func columns() []string {
	return []string{"Worker", "Name", "Address", "Zone", "State", "New key", "Old key", "Agent", "Reported", "Message"}
}

func (r Report) data() data {
	d := data{Columns: columns(), State: stateColumn, Workers: make([][]any, 0, len(r.Workers)), Moods: map[string]string{
		"New key yes": "good", "New key no": "bad", "New key unverified": "wait", "Old key refused": "good", "Old key ACCEPTED": "bad", "Old key unknown": "wait",
	}}
	for _, w := range r.Workers {
		d.Workers = append(d.Workers, []any{
			w.ID, Printable(w.Name), w.Address, w.Zone, w.state(), Printable(w.Accepted), w.oldKey(), Printable(w.AgentVersion), since(r.At, w.ReportedAt), Printable(w.Message),
		})
		d.Moods["State "+w.state()] = w.mood()
	}
	return d
}

func (w Worker) mood() string {
	switch {
	case w.State == Ready:
		return "good"
	case w.State == Booting, w.Waived:
		return "wait"
	}
	return "bad"
}

// cells are a row as the script would show it.
func (d data) cells(row []any) (cells []cell) {
	for i, value := range row {
		text, _ := value.(string)
		if i == reportedColumn {
			text = "-"
			if s, known := value.(int); known {
				text = Short(time.Duration(s)*time.Second) + " ago"
			}
		}
		class := d.Moods[d.Columns[i]+" "+text]
		if d.Columns[i] == "Worker" || d.Columns[i] == "Address" {
			class = "mono"
		}
		cells = append(cells, cell{Label: d.Columns[i], Text: text, Class: class})
	}
	return cells
}
