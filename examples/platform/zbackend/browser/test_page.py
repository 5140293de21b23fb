from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait


def test_the_world_is_greeted(browser, url):
    browser.get(url)
    assert browser.title.startswith("Greetings")
    wait_for(browser, "headline", "Hello, world!")


def test_a_name_is_greeted_and_counted(browser, url):
    browser.get(url)
    for count in ["greeted 1 time", "greeted 2 times"]:
        name = browser.find_element(By.ID, "name")
        name.clear()
        name.send_keys("Ada\n")
        wait_for(browser, "headline", "Hello, Ada!")
        wait_for(browser, "count", f", {count}")


def wait_for(browser, element, text):
    condition = text_to_be_present_in_element((By.ID, element), text)
    WebDriverWait(browser, 30).until(condition, f"#{element} is not {text!r}")
