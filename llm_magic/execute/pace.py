"""The pace of requests to each model: within stated limits, and slower for all after an error about the rate."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

from llm_magic.providers.rate_limits import MINUTE_S, Limit, RateLimits

USED_SHARE = 0.98
"""Share of a limit that is used: clocks differ, and so do token counts."""
_GROWTH, _REDUCTION = 1.03, 0.95
_SMALL_AMOUNT, _FAST_GROWTH = 20, 1.5
"""A limit learned from fewer requests than this says little, and is raised faster."""
_GUESS_GROWTH = 2.0
"""An error after fewer requests than that may be about a burst, or about the requests of another process. The limit is
then a guess, which is raised until the next error."""
_FIRST_CONCURRENCY, _ANSWERS_PER_SLOT = 4, 24
"""Without stated limits, requests in flight increase with the answers, so few are in flight when a limit is met."""
_TYPICAL_OUTPUT_TOKENS = 100.0
_LEARNING_SHARE = 0.1


@dataclass(slots=True)
class Ticket:
    """A request that was counted. tokens: expected, then actual."""

    sent_at: float
    tokens: float


class Allowance:
    """Requests or tokens in a sliding window, which suits servers with buckets and those with fixed windows."""

    def __init__(self) -> None:
        self.amount: float | None = None
        self.window_s = MINUTE_S
        self.is_guess = False
        self._is_stated = False
        self._sent: deque[tuple[float, float]] = deque()
        self._total = 0.0
        self._left: float | None = None
        self._left_at = 0.0
        self._since_left = 0.0
        self._next_at = 0.0

    def wait_s(self, amount: float, now: float, *, is_spread: bool) -> float:
        if self.amount is None:
            return 0.0
        self._expire(now)
        limit, rate = self.amount * USED_SHARE, self.amount * USED_SHARE / self.window_s
        wait_s = self._next_at - now if is_spread else 0.0
        excess = self._total + min(amount, limit) - limit
        if excess > 0:
            freed = 0.0
            for sent_at, sent in self._sent:
                freed += sent
                if freed >= excess:
                    wait_s = max(wait_s, sent_at + self.window_s - now)
                    break
        if self._left is not None:
            available = self._left - self._since_left + rate * (now - self._left_at)
            wait_s = max(wait_s, (min(amount, limit) - available) / rate)
        return max(0.0, wait_s)

    def add(self, amount: float, now: float) -> None:
        self._expire(now)
        if self._sent and self._sent[-1][0] == now:
            self._sent[-1] = now, self._sent[-1][1] + amount
        else:
            self._sent.append((now, amount))
        self._total += amount
        self._since_left += amount
        if self.amount is not None:
            self._next_at = max(self._next_at, now) + amount * self.window_s / (self.amount * USED_SHARE)

    def correct(self, sent_at: float, difference: float) -> None:
        """Change the amount of an entry, once the actual one is known."""
        for number in range(len(self._sent) - 1, -1, -1):
            at, amount = self._sent[number]
            if at == sent_at:
                self._sent[number] = at, amount + difference
                self._total += difference
                return
            if at < sent_at:
                return

    def state(self, limit: Limit, sent_at: float) -> None:
        """Take the limit that a response stated. sent_at: when its request was sent."""
        self.amount, self.window_s, self._is_stated = limit.amount, limit.window_s, True
        if sent_at >= self._left_at:
            self._left, self._left_at = limit.left, sent_at
            later = itertools.takewhile(lambda entry: entry[0] > sent_at, reversed(self._sent))
            self._since_left = sum(amount for _, amount in later)

    def reduce(self, now: float, minimum: float) -> None:
        """Learn the limit from what was accepted in the last window. minimum: the lowest first guess."""
        self._expire(now)
        self.is_guess = self.amount is None and self._total < minimum
        if self.amount is None:
            self.amount = max(self._total, minimum)
        elif not self._is_stated:
            self.amount = max(1.0, min(self.amount * _REDUCTION, max(self._total, self.amount / 2)))

    def grow(self, factor: float) -> None:
        if self.amount is not None and not self._is_stated:
            self.amount *= factor

    def _expire(self, now: float) -> None:
        while self._sent and self._sent[0][0] <= now - self.window_s:
            self._total -= self._sent.popleft()[1]


class Pace:
    """The pace of one model, which all columns share. `now` is monotonic."""

    def __init__(self) -> None:
        self.requests, self.tokens = Allowance(), Allowance()
        self._is_spread = False
        self._is_stated = False
        self._blocked_until = 0.0
        self._changed_at = -1.0
        self._answers = 0
        self._answers_since_change = 0
        self._patience = 1
        self._more_tokens = _TYPICAL_OUTPUT_TOKENS
        """Tokens of a request beyond the estimate of its input, by the latest answers."""

    def wait_s(self, input_tokens: int, now: float) -> float:
        """Return the seconds until a request may be sent; 0 if it may be sent now."""
        tokens = self._expected_tokens(input_tokens)
        by_limits = max(
            self.requests.wait_s(1, now, is_spread=self._is_spread),
            self.tokens.wait_s(tokens, now, is_spread=self._is_spread),
        )
        if by_limits > 0:
            self._is_spread = True
        return max(by_limits, self._blocked_until - now, 0.0)

    def send(self, input_tokens: int, now: float) -> Ticket:
        ticket = Ticket(now, self._expected_tokens(input_tokens))
        self.requests.add(1, now)
        self.tokens.add(ticket.tokens, now)
        return ticket

    def answered(self, ticket: Ticket, input_tokens: int, output_tokens: int) -> None:
        difference = input_tokens + output_tokens - ticket.tokens
        self._more_tokens += _LEARNING_SHARE * difference
        self.tokens.correct(ticket.sent_at, difference)
        self._answers += 1
        self._answers_since_change += 1
        amount = self.requests.amount
        if amount is None or self._is_stated:
            return
        if self.requests.is_guess:
            needed, factor = float(_SMALL_AMOUNT), _GUESS_GROWTH
        elif amount < _SMALL_AMOUNT:
            needed, factor = amount, _FAST_GROWTH
        else:
            needed, factor = self._patience * amount, _GROWTH
        if self._answers_since_change >= needed:
            self._answers_since_change = 0
            for allowance in (self.requests, self.tokens):
                allowance.grow(factor)

    def stated(self, limits: RateLimits, ticket: Ticket) -> None:
        self._is_stated = True
        if limits.requests is not None:
            self.requests.state(limits.requests, ticket.sent_at)
        if limits.tokens is not None:
            self.tokens.state(limits.tokens, ticket.sent_at)

    def cancel(self, ticket: Ticket) -> None:
        """Count a request for nothing: it was not sent, or not accepted."""
        self.requests.correct(ticket.sent_at, -1)
        self.tokens.correct(ticket.sent_at, -ticket.tokens)

    def rate_limited(self, ticket: Ticket, retry_after_s: float | None, now: float) -> None:
        """Slow down for all, once for the requests that were in flight together."""
        self.cancel(ticket)
        self._blocked_until = max(self._blocked_until, now + (retry_after_s or 0.0))
        if ticket.sent_at <= self._changed_at:
            return
        if self._is_spread:
            self._patience = min(2 * self._patience, 16)
        self._is_spread, self._changed_at, self._answers_since_change = True, now, 0
        self.requests.reduce(now, _SMALL_AMOUNT)
        self.tokens.reduce(now, _SMALL_AMOUNT * ticket.tokens)

    def concurrency(self, maximum: int) -> int:
        """Return the number of requests that may be in flight."""
        if self._is_stated or self.requests.amount is not None:
            return maximum
        return min(maximum, _FIRST_CONCURRENCY + self._answers // _ANSWERS_PER_SLOT)

    def minutes(self, requests: int, input_tokens: int) -> float | None:
        """Return the minutes that requests with this many tokens each take at the known limits; None without any."""
        needed = [
            requests * amount * allowance.window_s / (allowance.amount * USED_SHARE * 60)
            for allowance, amount in ((self.requests, 1.0), (self.tokens, self._expected_tokens(input_tokens)))
            if allowance.amount is not None
        ]
        return max(needed, default=None)

    def _expected_tokens(self, input_tokens: int) -> float:
        return max(1.0, input_tokens + self._more_tokens)


class Paces:
    """The pace of each model by provider."""

    def __init__(self) -> None:
        self._by_model: dict[tuple[str, str], Pace] = {}

    def of(self, provider: str, model_id: str) -> Pace:
        return self._by_model.setdefault((provider, model_id), Pace())
