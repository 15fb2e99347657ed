# The agent's program, as it is shipped, put to the test.

TRIAL := $(BUILD)/trial

.PHONY: faults idle soak $(TRIAL)

$(TRIAL):
	@mkdir -p $(BUILD) && $(GO) build -o $@ ./agent/internal/trial

# As root every row must run; elsewhere each one says why it did not.
faults: $(BIN)/rotatessh-agent $(TRIAL) ## the agent among full disks, planted links and failing system calls (SHORT=1: fewer rows)
	@$(TRIAL) faults $(if $(SHORT),-short,-runs 5) $(BIN)/rotatessh-agent

idle: $(BIN)/rotatessh-agent $(TRIAL) ## what the agent takes while nothing happens; 10 minutes (root)
	@$(TRIAL) idle $(BIN)/rotatessh-agent

soak: $(BIN)/rotatessh-agent $(TRIAL) ## whether the agent leaks in trouble of every kind; 15 minutes (root)
	@$(TRIAL) soak $(BIN)/rotatessh-agent
