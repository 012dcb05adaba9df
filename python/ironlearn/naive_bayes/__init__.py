"""Naive Bayes classifiers."""

from ironlearn.naive_bayes.bernoulli import BernoulliNB
from ironlearn.naive_bayes.categorical import CategoricalNB
from ironlearn.naive_bayes.complement import ComplementNB
from ironlearn.naive_bayes.gaussian import GaussianNB
from ironlearn.naive_bayes.multinomial import MultinomialNB

__all__ = ["BernoulliNB", "CategoricalNB", "ComplementNB", "GaussianNB", "MultinomialNB"]
