"""The source of a custom loss, for tests that write it into a file of its own."""

FOCAL = '''
import polytask as pk

@pk.loss
class Focal:
    """Cross-entropy that fades on easy rows.

    Source: Lin et al. 2017, eq. 4.
    """

    input_field = "logits"
    gamma: float = 2.0
    """How fast rows that are right already stop counting."""

    def outputs(self, labels):
        return labels.num_classes

    def __call__(self, output, target):
        log_p = output.logits.log_softmax(-1).gather(1, target[:, None]).squeeze(1)
        return -((1 - log_p.exp()) ** self.gamma * log_p).mean()
'''
