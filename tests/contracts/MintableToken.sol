// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// The least token that AITokenMinter can mint: it obeys whoever deployed it, or whom the deployer has named.
contract MintableToken {
    address public minter = msg.sender;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    function setMinter(address newMinter) external {
        require(msg.sender == minter, "not the minter");
        minter = newMinter;
    }

    function mint(address to, uint256 amount) external {
        require(msg.sender == minter, "not the minter");
        totalSupply += amount;
        balanceOf[to] += amount;
        emit Transfer(address(0), to, amount);
    }
}
