import pytest
def test_it(trained): 
    print(trained.model, trained.predictor().required_bars)
