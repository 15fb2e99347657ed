package sqs

// Page tells how many queues an answer of ListQueues holds and where the next one starts.
func Page(out any) (queues int, token string) {
	page := out.(listQueuesOutput)
	return len(page.QueueUrls), page.NextToken
}

// Waiting is how many receives are waiting for a message.
func (s *Service) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, q := range s.queues {
		n += q.waiting
	}
	return n
}
